"""A gateway with several routers: who gets what, and what happens when one leaves or dies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from pdmesh.router.v1 import router_pb2
from services.gateway.settings import Settings
from tests.wire.gateway.conftest import become_ready, running_gateway
from tests.wire.gateway.fake_router import MODEL, FakeRouter, running_router
from tests.wire.gateway.raw_http import RawClient, get
from tests.wire.gateway.test_routing import names
from tests.wire.gateway.test_streaming import chat, events, eventually, text_of


@dataclass
class Site:
    """One gateway before two routers."""

    port: int
    routers: tuple[FakeRouter, FakeRouter]
    stacks: tuple[AsyncExitStack, AsyncExitStack]

    async def ask(self) -> RawClient:
        """A client whose streamed request is on its way."""
        client = await RawClient.connect(self.port)
        client.send(chat())
        return client

    def jobs(self) -> tuple[int, int]:
        """Requests that each router got."""
        return len(self.routers[0].jobs), len(self.routers[1].jobs)


@pytest.fixture
async def site(model_directory: Path) -> AsyncIterator[Site]:
    routers = (FakeRouter(), FakeRouter())
    for number, router in enumerate(routers):
        router.models = [MODEL, router_pb2.Model(name=f"of-{number}", max_model_len=400)]
    async with AsyncExitStack() as first, AsyncExitStack() as second:
        ports = [
            await stack.enter_async_context(running_router(router))
            for stack, router in zip((first, second), routers, strict=True)
        ]
        addresses = tuple(f"127.0.0.1:{port}" for port in ports)
        async with running_gateway(Settings(port=0, model=str(model_directory), router=addresses)) as (
            url,
            _,
        ):
            port = int(url.rsplit(":", 1)[1])
            await become_ready(port)
            while not {"of-0", "of-1"} <= (await names(port)).keys():  # those of all that have greeted it
                await asyncio.sleep(0.005)
            yield Site(port, routers, (first, second))


async def test_requests_go_to_the_router_with_the_fewest(site: Site) -> None:
    clients = []
    for number in range(1, 7):
        clients.append(await site.ask())
        await eventually(lambda number=number: sum(site.jobs()) == number)
    assert site.jobs() == (3, 3)
    for client in clients:
        await client.close()


async def test_a_router_that_leaves_gets_nothing_new_and_ends_what_it_has(site: Site) -> None:
    leaving, staying = site.routers
    clients = [await site.ask(), await site.ask()]
    job = await leaving.job()
    leaving.sessions[0].draft.leave()
    job.send([70])
    reader = clients[site.routers.index(leaving)]
    await reader.head()
    stream = events(reader)
    made = [await anext(stream)]
    for _ in range(3):
        clients.append(await site.ask())
    await eventually(lambda: site.jobs() == (1, 4))
    job.send([71])
    job.end()
    made.extend([event async for event in stream])
    assert made[-1] == "[DONE]"
    assert list(job.sent) == [70, 71]
    assert len(staying.jobs) == 4
    for client in clients:
        await client.close()


async def test_streams_of_a_dead_router_go_on_at_the_other_at_once(site: Site) -> None:
    first, second = site.routers
    client = await site.ask()
    job = await first.job()
    job.send([70, 71])
    await client.head()
    stream = events(client)
    made = [await anext(stream), await anext(stream)]
    await site.stacks[0].aclose()
    again = await second.job()
    assert list(again.request.delivered) == [70, 71]
    assert again.request.resubmitted
    again.send([72])
    again.end()
    made.extend([event async for event in stream])
    assert made[-1] == "[DONE]"
    assert text_of(made) == text_of(made[:2]) + text_of(made[2:])
    await client.close()


async def test_a_gateway_is_not_ready_when_its_last_router_leaves(site: Site) -> None:
    for router in site.routers:
        router.sessions[0].draft.leave()
        router.sessions[0].link.wake()

    async def status() -> int:
        client = await RawClient.connect(site.port)
        client.send(get("/ready"))
        response = await client.response()
        await client.close()
        return response.status

    while await status() != 503:
        pass
