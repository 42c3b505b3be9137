"""How requests are read off a connection, however they are framed and cut."""

import asyncio
import dataclasses

import pytest

from services.common.limits import DEFAULTS
from tests.wire.gateway.raw_http import RawClient, get, post
from tests.wire.gateway.test_http import serving

H2C = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABk")


@pytest.mark.parametrize("size", [None, 7, 1])
async def test_an_offer_of_http_2_is_passed_over(size: int | None) -> None:
    """As curl and Java's HttpClient make it; each request has its one answer, however it is cut."""
    requests = [
        get("/hello", *H2C),
        post("/echo", b"abc", *H2C),
        post("/echo", b"", *H2C),
        b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\nconnection: upgrade\r\n"
        b"upgrade: websocket\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        post("/echo", b"plain"),
        get("/hello", "connection: upgrade, close", "upgrade: h2c"),
    ]
    data = b"".join(requests)
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        for start in range(0, len(data), size or len(data)):
            client.send(data[start : start + (size or len(data))])
            await client.writer.drain()
            await asyncio.sleep(0)
        bodies = [(await client.response()).body for _ in requests]
        assert bodies == [b"hello", b"abc", b"", b"abcde", b"plain", b"hello"]
        assert await client.is_closed()
        await client.close()


async def test_a_head_in_pieces_is_counted_once() -> None:
    limits = dataclasses.replace(DEFAULTS, header_size_bytes_max=20_000)
    async with serving(limits) as (_, _, port):
        client = await RawClient.connect(port)
        data = get("/hello", *(f"x-{number}: {'y' * 2000}" for number in range(8)), "x: " + "z" * 2000)
        assert 18_000 < len(data) < 20_000
        for start in range(0, len(data), 3000):
            client.send(data[start : start + 3000])
            await client.writer.drain()
            await asyncio.sleep(0.005)
        assert (await client.response()).status == 200
        await client.close()


async def test_a_body_is_not_counted_to_the_next_head() -> None:
    limits = dataclasses.replace(DEFAULTS, header_size_bytes_max=1000)
    async with serving(limits) as (_, _, port):
        client = await RawClient.connect(port)
        body, second = b"b" * 20_000, get("/hello")
        client.send(post("/echo", body) + second[:20])
        assert (await client.response()).body == body
        client.send(second[20:])
        assert (await client.response()).body == b"hello"
        await client.close()


async def test_trailers_are_bounded_and_mean_nothing() -> None:
    chunked = b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        client.send(chunked + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n")
        assert (await client.response()).body == b"a"
        client.send(chunked)
        for _ in range(40):
            client.send(b"x" * 1000)
            await client.writer.drain()
            await asyncio.sleep(0.001)
        assert (await client.response()).status == 431
        await client.close()


async def test_chunked_request_body() -> None:
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        client.send(
            b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert (await client.response()).body == b"abcde"
        await client.close()


async def test_expect_100_continue() -> None:
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        client.send(b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        assert (await client.response(has_body=False)).status == 100
        client.send(b"abc")
        assert (await client.response()).body == b"abc"
        await client.close()


async def test_an_offer_of_http_2_may_wait_for_leave_to_send() -> None:
    async with serving() as (_, _, port):
        client = await RawClient.connect(port)
        client.send(post("/echo", b"abc", "expect: 100-continue", *H2C).removesuffix(b"abc"))
        assert (await client.response(has_body=False)).status == 100
        client.send(b"abc")
        assert (await client.response()).body == b"abc"
        await client.close()
