"""No body of any size that is taken holds up the event loop, whatever it is made of."""

import asyncio
import gc
import http.client

import pytest

from tests.attack.conftest import Besiege
from tests.attack.hold_watch import watched_loop
from tests.attack.siege import Siege
from tests.attack.worst_bodies import ROUTES, filled, worst_bodies

HELD_MS_MAX = 50.0
"""Of the processor's time, in one callback."""


def ask(siege: Siege, route: str, body: bytes) -> int:
    """POST as mallory, from a thread, so that the loop is the gateway's and the router's alone."""
    client = http.client.HTTPConnection("127.0.0.1", siege.edge.port, timeout=60)
    headers = dict([siege.credential("mallory").split(": ")], **{"content-type": "application/json"})
    client.request("POST", route, body, headers)
    response = client.getresponse()
    response.read()
    client.close()
    return response.status


@pytest.mark.parametrize("route", ROUTES)
async def test_the_worst_bodies(besieged: Besiege, route: str) -> None:
    async with besieged() as siege:
        gc.collect()
        gc.freeze()  # as a gateway does before it serves
        try:
            for name, body in worst_bodies(route):
                with watched_loop() as watch:
                    status = await asyncio.to_thread(ask, siege, route, body)
                assert status in (200, 400), name
                assert watch.held_ms < HELD_MS_MAX, f"{name}: {watch.held_ms:.0f} ms by {watch.by}"
        finally:
            gc.unfreeze()
        assert await siege.innocent() == [200] * 5


async def test_an_echo_of_the_longest_prompt(besieged: Besiege) -> None:
    """Its text is made of tokens again, which takes long."""
    body = filled(b'{"model":"tiny","echo":true,"max_tokens":1,"prompt":[', b"300,", b"300]}", 1_000_000)
    async with besieged() as siege:
        with watched_loop() as watch:
            assert await asyncio.to_thread(ask, siege, "/v1/completions", body) == 400
        assert watch.held_ms < HELD_MS_MAX


async def test_others_are_answered_while_a_body_is_parsed(besieged: Besiege, monkeypatch) -> None:
    """Parsing is made to wait here, for as long as the innocent take."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait(*_: object) -> None:
        asyncio.run_coroutine_threadsafe(done.wait(), loop).result(30)
        raise ValueError("the end of it")

    monkeypatch.setattr("services.gateway.rest.openai.tokenize.decode_json", wait)
    async with besieged() as siege:
        body = filled(b'{"model":"tiny","prompt":"', b" ", b'"}', 1_000_000)
        attacks = [asyncio.create_task(asyncio.to_thread(ask, siege, "/tokenize", body)) for _ in range(6)]
        await siege.until_held(4_000_000, "pdmesh_gateway_rendering_bytes")
        assert await siege.innocent() == [200] * 5
        long_innocent = b'{"model":"tiny","max_tokens":5,"prompt":"Hi","user":"%b"}' % (b"a" * 100_000)
        refused = await siege.post("alice", "/v1/completions", long_innocent)
        assert refused.status == 400  # by its field, from a thread of its own
        done.set()
        assert [await attack for attack in attacks] == [500] * 6
        await siege.until_free("pdmesh_gateway_rendering_bytes")


async def test_lag_is_measured(besieged: Besiege) -> None:
    async with besieged() as siege:
        name = "pdmesh_gateway_loop_lag_seconds_count"
        assert await siege.until_held(1, name) >= 1
