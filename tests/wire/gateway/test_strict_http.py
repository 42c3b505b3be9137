"""Requests that could be understood in two ways are understood in none."""

from pathlib import Path

import pytest

from tests.wire.gateway.conftest import Edge, running_edge
from tests.wire.gateway.raw_http import RawClient, RawResponse, post
from tests.wire.gateway.test_http import serving

CHUNKED = b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
BODY = b'{"model": "tiny", "prompt": "Hi", "max_tokens": 5}'


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /hello HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n", 400),
        (b"GET /hello HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nhost: a, b c\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nhost: user@a\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nhost: a/b\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", 200),
        (b"GET /hello HTTP/1.1\r\nhost:\r\n\r\n", 200),
        (b"GET /hello HTTP/1.1\r\nhost: a.b-c_d:8000\r\n\r\n", 200),
        (b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: gzip, chunked" + CHUNKED, 501),
        (b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked, chunked" + CHUNKED, 400),
        (b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: identity, chunked" + CHUNKED, 501),
        (b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked" + CHUNKED,
         501),
        (b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: Chunked" + CHUNKED, 200),
        (b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\na", 415),
        (b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-encoding: zstd, br\r\ncontent-length: 1\r\n\r\na", 415),
        (b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-encoding: identity\r\ncontent-length: 1\r\n\r\na", 200),
        (b"GET /hello HTTP/2.0\r\nhost: t\r\n\r\n", 505),
        (b"GET /hello HTTP/0.9\r\nhost: t\r\n\r\n", 505),
        (b"GET /hello HTTP/1.2\r\nhost: t\r\n\r\n", 400),
        (b"GET /hello HTTP/1.0\r\n\r\n", 200),
    ],
)  # fmt: skip
async def test_heads(request_bytes: bytes, status: int) -> None:
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        client.send(request_bytes)
        response = await client.response()
        assert response.status == status
        if status >= 400:
            assert await client.is_closed()
        await client.close()


async def test_chunks_of_http_1_0_are_read_and_end_the_connection() -> None:
    """Whoever stands between may not know chunks, and take what follows for another request."""
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        head = b"POST /echo HTTP/1.0\r\nconnection: keep-alive\r\ntransfer-encoding: chunked"
        client.send(head + CHUNKED + b"GET /hello HTTP/1.0\r\n\r\n")
        response = await client.response()
        assert (response.body, response.headers["connection"]) == (b"abc", "close")
        assert await client.is_closed()
        await client.close()


async def ask(edge: Edge, data: bytes) -> RawResponse:
    client = await edge.client()
    client.send(data)
    response = await client.response()
    await client.close()
    return response


def from_browser(kind: str, *headers: str, path: str = "/v1/completions") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: t", *([f"content-type: {kind}"] if kind else []), *headers]
    return "\r\n".join([*lines, f"content-length: {len(BODY)}", "", ""]).encode() + BODY


@pytest.mark.parametrize(
    "sign", ["origin: https://evil.example", "sec-fetch-site: cross-site", "origin: null"]
)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "text/json"])
async def test_a_page_cannot_post_what_browsers_send_unasked(edge: Edge, sign: str, kind: str) -> None:
    response = await ask(edge, from_browser(kind, sign))
    assert response.status == 415
    assert b"unsupported_media_type" in response.body
    assert not edge.router.jobs


@pytest.mark.parametrize("path", ["/v1/messages", "/tokenize", "/v1/embeddings", "/v1/messages/count_tokens"])
async def test_so_it_is_with_every_route(edge: Edge, path: str) -> None:
    refused = await ask(edge, from_browser("text/plain", "origin: https://evil.example", path=path))
    assert refused.status == 415


async def test_a_browser_s_json_and_everybody_else_s_anything_are_taken(edge: Edge) -> None:
    edge.router.script = edge.says("hello")
    declared = from_browser("application/json; charset=utf-8", "sec-fetch-site: same-origin")
    assert (await ask(edge, declared)).status == 200
    assert (await ask(edge, from_browser("text/plain"))).status == 200
    assert (await ask(edge, from_browser(""))).status == 200


def preflight(origin: str) -> bytes:
    lines = [
        "OPTIONS /v1/completions HTTP/1.1",
        "host: t",
        f"origin: {origin}",
        "access-control-request-method: POST",
        "access-control-request-headers: authorization,content-type",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def cors_headers(response: RawResponse) -> set[str]:
    return {name for name in response.headers if name.startswith("access-control-")}


async def test_no_page_may_ask_unless_it_is_set(edge: Edge) -> None:
    response = await ask(edge, preflight("https://chat.example"))
    assert response.status == 405
    assert not cors_headers(response)
    edge.router.script = edge.says("hello")
    asked = await ask(edge, post("/v1/completions", BODY, "origin: https://chat.example"))
    assert not cors_headers(asked)


async def test_pages_that_are_set_may_ask(model_directory: Path) -> None:
    async with running_edge(model_directory, cors_origin=("https://chat.example",), grace_ms=200) as edge:
        edge.router.script = edge.says("hello")
        leave = await ask(edge, preflight("https://chat.example"))
        assert leave.status == 204
        assert leave.headers["access-control-allow-origin"] == "https://chat.example"
        assert leave.headers["access-control-allow-headers"] == "authorization,content-type"
        assert leave.headers["access-control-allow-methods"] == "GET, POST"
        answer = await ask(edge, post("/v1/completions", BODY, "origin: https://chat.example"))
        assert answer.headers["access-control-allow-origin"] == "https://chat.example"
        for response in (
            await ask(edge, preflight("https://evil.example")),
            await ask(edge, post("/v1/completions", BODY, "origin: https://evil.example")),
            await ask(edge, post("/v1/completions", BODY)),
        ):
            assert not cors_headers(response)
            assert response.headers["vary"] == "origin"


async def test_every_page_may_ask_where_that_is_set(model_directory: Path) -> None:
    async with running_edge(model_directory, cors_origin=("*",), grace_ms=200) as edge:
        leave = await ask(edge, preflight("https://any.example"))
        assert leave.headers["access-control-allow-origin"] == "https://any.example"
        refused = await ask(edge, post("/v1/completions", b"{", "origin: https://any.example"))
        assert (refused.status, refused.headers["access-control-allow-origin"]) == (
            400,
            "https://any.example",
        )
