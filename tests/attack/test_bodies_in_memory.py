"""Nobody's bodies fill the gateway's memory: strangers' are not read, and those of tenants have a bound."""

import asyncio

import pytest

from tests.attack.conftest import Besiege
from tests.attack.siege import INNOCENT
from tests.wire.gateway.raw_http import RawClient, get, post

MIB = 1024 * 1024
HEAD = "POST /v1/completions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"{HEAD}content-length: {8 * MIB}\r\n", 401),
        (f"{HEAD}transfer-encoding: chunked\r\n", 401),
        (f"{HEAD}authorization: Bearer wrong\r\ncontent-length: {8 * MIB}\r\nexpect: 100-continue\r\n", 401),
        (f"POST /v1/messages HTTP/1.1\r\nhost: t\r\ncontent-length: {8 * MIB}\r\n", 401),
        (f"POST /nowhere HTTP/1.1\r\nhost: t\r\ncontent-length: {8 * MIB}\r\n", 401),
        (f"POST /health HTTP/1.1\r\nhost: t\r\ncontent-length: {8 * MIB}\r\n", 405),
        (f"GET /health HTTP/1.1\r\nhost: t\r\ncontent-length: {8 * MIB}\r\n", 413),
    ],
)
async def test_a_head_is_refused_before_its_body(besieged: Besiege, head: str, status: int) -> None:
    """The answer comes although not one byte of the body does, and is the connection's last."""
    async with besieged() as siege:
        client = await siege.edge.client()
        client.send(head.encode() + b"\r\n")
        response = await client.response()
        assert response.status == status
        assert response.headers["connection"] == "close"
        assert await client.is_closed()
        await client.close()


async def test_a_tenant_s_head_is_refused_before_its_body(besieged: Besiege) -> None:
    async with besieged() as siege:
        client = await siege.edge.client()
        client.send(
            f"POST /v1/nothing HTTP/1.1\r\nhost: t\r\n{siege.credential('mallory')}\r\n"
            f"content-length: {8 * MIB}\r\n\r\n".encode()
        )
        assert (await client.response()).status == 404
        await client.close()


async def test_sixty_strangers_hold_nothing(besieged: Besiege) -> None:
    """Each sends what it can of 8 MiB; the gateway keeps none of it, and serves meanwhile."""
    async with besieged() as siege:
        strangers = [await siege.edge.client() for _ in range(60)]
        for stranger in strangers:
            stranger.send(f"{HEAD}content-length: {8 * MIB}\r\n\r\n".encode() + b" " * MIB)
        assert [(await stranger.response()).status for stranger in strangers] == [401] * 60
        assert await siege.held_bytes() == 0
        assert await siege.innocent() == [200] * 5


async def test_a_refusal_of_a_small_request_keeps_the_connection(besieged: Besiege) -> None:
    async with besieged() as siege:
        client = await siege.edge.client()
        client.send(get("/v1/models") + get("/v1/models", siege.credential("alice")))
        assert [(await client.response()).status for _ in range(2)] == [401, 200]
        await client.close()


async def test_a_refused_head_waits_for_the_answers_before_it(besieged: Besiege) -> None:
    async with besieged() as siege:
        client = await siege.edge.client()
        client.send(get("/v1/models", siege.credential("alice")) + post("/v1/completions", INNOCENT))
        assert [(await client.response()).status for _ in range(2)] == [200, 401]
        assert await client.is_closed()
        await client.close()


async def test_bodies_are_bounded_together_and_by_tenant(besieged: Besiege) -> None:
    """One tenant's half-sent bodies come to an end at its share; the other still gets in."""
    async with besieged(limits={"bodies_size_bytes_max": MIB}) as siege:
        clients = [await siege.half_sent("mallory", 100_000) for _ in range(8)]
        assert await siege.until_held(800_000) == 800_000
        refused = await siege.half_sent("mallory", 100_000)
        response = await refused.response()
        assert response.status == 503
        assert b"bodies_full" in response.body
        assert int(response.headers["retry-after"]) >= 1
        assert await siege.innocent() == [200] * 5
        for client in clients:
            await client.close()
        await siege.until_free()
        assert (await siege.post("mallory", "/v1/completions", INNOCENT)).status == 200


async def test_many_tenants_never_fill_it(besieged: Besiege) -> None:
    """However they divide it, the sum stays below the bound."""
    async with besieged(limits={"bodies_size_bytes_max": MIB}) as siege:
        for _ in range(12):
            for tenant in ("mallory", "root"):
                await siege.half_sent(tenant, 100_000)
        assert await siege.until_held(700_000) < MIB
        assert await siege.innocent() == [200] * 5


async def test_tiny_chunks_count_their_bytes_and_no_more(besieged: Besiege) -> None:
    """A list of parts would cost fifty times what the parts have."""
    async with besieged(limits={"bodies_size_bytes_max": MIB}) as siege:
        client = await siege.edge.client()
        client.send(f"{HEAD}{siege.credential('mallory')}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        client.send(b"2\r\n  \r\n" * 100_000)
        await client.writer.drain()
        assert await siege.until_held(200_000) == 200_000
        await client.close()
        await siege.until_free()


async def test_a_body_is_let_go_once_it_has_been_understood(besieged: Besiege) -> None:
    """An answer may take minutes; what was asked is tokens by then."""
    async with besieged() as siege:
        siege.edge.router.script = lambda job: None
        client = await siege.edge.client()
        body = b'{"model": "tiny", "prompt": "Hi", "max_tokens": 5, "user": "' + b"x" * 200 + b'"}'
        client.send(post("/v1/completions", body, siege.credential("mallory"), "idempotency-key: one"))
        job = await siege.edge.router.job()
        assert await siege.held_bytes() == 0
        siege.edge.says("hello")(job)
        assert (await client.response()).status == 200
        await client.close()


@pytest.mark.parametrize(
    "piece",
    [b"1;" + b"e" * 4000, b"1;a=" + b'"' + b"q" * 4000 + b'"', b"0000000000000001;x" + b"y" * 4000],
)
async def test_chunk_extensions_are_bounded(besieged: Besiege, piece: bytes) -> None:
    async with besieged() as siege:
        client = await siege.edge.client()
        client.send(f"{HEAD}{siege.credential('mallory')}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for _ in range(20):
            client.send(piece + b"\r\na\r\n")
            await client.writer.drain()
            await asyncio.sleep(0.002)
        assert (await client.response()).status == 431
        await client.close()


async def test_one_endless_extension_is_bounded(besieged: Besiege) -> None:
    async with besieged() as siege:
        client = await siege.edge.client()
        client.send(f"{HEAD}{siege.credential('mallory')}\r\ntransfer-encoding: chunked\r\n\r\n1;".encode())
        await send_in_reads(client, b"e" * 1000, 60)
        assert (await client.response()).status == 431
        await client.close()


async def test_many_small_chunks_are_no_extension(besieged: Besiege) -> None:
    """What frames honest chunks grows with them, and is far more than extensions may be."""
    async with besieged() as siege:
        client = await siege.edge.client()
        client.send(f"{HEAD}{siege.credential('alice')}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        await send_in_reads(client, b"1\r\n \r\n" * 200, 60)
        client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNOCENT), INNOCENT))
        assert (await client.response()).status == 200
        await client.close()


async def send_in_reads(client: RawClient, piece: bytes, count: int) -> None:
    """Send a piece many times, so that the gateway reads most of them by themselves."""
    for _ in range(count):
        client.send(piece)
        await client.writer.drain()
        await asyncio.sleep(0.001)
