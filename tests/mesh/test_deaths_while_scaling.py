"""Every kind of process is ended, in both ways, while a fleet of two routers scales under load.

No stream may fail but those whose own gateway is killed, and in the end there is what the policy wants.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pdmesh.operator.v1 import operator_pb2 as wire
from services.cli.operator.client import OperatorClient
from services.common.domain import Role
from services.common.errors import MeshError
from tests.mesh.client import ConnectionCut
from tests.mesh.harness import Mesh, is_alive
from tests.mesh.streams import Crowd, Load
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.timeout(300)
WAIT_S = 90.0
SEATS, LONG_TOKENS = 8, 1_000
ROUTERS = ("router", "router-2")
FLAGS = (
    *("--engine", "sim", "--engine-arg", "step-ms=20", "--engine-arg", "sequence-us=0"),
    *("--decode-engine-arg", f"max-num-seqs={SEATS}", "--decode-engine-arg", "load-ms=1000"),
    *("--decode-engine-arg", "kv-blocks=1024"),  # few: every worker gets streams, a slow one too
    *("--autoscale", "--routers", "2", "--prefill", "2"),
    *("--prefill-replicas-min", "2", "--prefill-replicas-max", "2", "--decode-replicas-max", "3"),
    *("--decode-cold-start-ms", "2000", "--decode-down-cooldown-ms", "3000"),
    *("--decode-down-interval-ms", "500", "--decode-rate-window-ms", "1000"),
)


class Site:
    """The mesh, its Redis, and what routers say of the fleet."""

    def __init__(self, mesh: Mesh, redis: RedisServer, model_dir: Path) -> None:
        self.mesh, self.redis, self.model_dir = mesh, redis, model_dir

    async def ask(self, router: str) -> tuple[wire.DescribeFleetResponse, wire.DescribeScalingResponse]:
        async with OperatorClient(self.mesh.facts["urls"][router], 2_000, self.mesh.security) as client:
            return await client.fleet(), await client.scaling()

    async def until(self, condition: Callable[[dict[str, str], str], bool], *routers: str) -> str:
        """Wait until all these routers (any of them, where none is named) see decode workers in such states,
        by name, and such a decider; returns who decides.
        """
        async with asyncio.timeout(WAIT_S):
            while True:
                seen = [found for name in routers or ROUTERS if (found := await self._decode(name))]
                met = [condition(*found) for found in seen]
                if met and (all(met) and len(met) == len(routers) if routers else any(met)):
                    return seen[0][1]
                await asyncio.sleep(0.05)

    async def _decode(self, router: str) -> tuple[dict[str, str], str] | None:
        try:
            fleet, scaling = await self.ask(router)
        except (MeshError, KeyError):
            return None
        if len(fleet.routers) < len(ROUTERS) and scaling.decider:
            return None  # one of them has just come, and is not known to the other
        states = {w.worker_id: w.state for w in fleet.workers if w.role == int(Role.DECODE)}
        return states, scaling.decider

    async def restarted(self, name: str, old_pid: int) -> None:
        await asyncio.to_thread(self.mesh.wait_restarted, name, old_pid, WAIT_S)

    async def end(self, number: int, *names: str) -> None:
        """End processes, and wait until they are back.

        While a worker drains, another one may be started in its place; it need not come back for long then.
        """
        for name, old_pid in [(name, self.mesh.send(name, number)) for name in names]:
            if number == signal.SIGTERM and name.startswith(("prefill", "decode")):
                await asyncio.to_thread(
                    self.mesh.wait_until, lambda pid=old_pid: not is_alive(pid), f"end of {name}", WAIT_S
                )
            else:
                await self.restarted(name, old_pid)

    @asynccontextmanager
    async def crowd(self, size: int) -> AsyncIterator[Crowd]:
        """So many clients while the block runs; each of their answers is whole and right."""
        crowd = Crowd(self.mesh.url, self.model_dir, max_tokens=60)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(crowd.run(size))
            yield crowd
            crowd.size = 0

    def load(self, count: int, max_tokens: int) -> Load:
        return Load(self.mesh.url, self.model_dir, count=count, max_tokens=max_tokens)


def serving(states: dict[str, str]) -> int:
    return sum(state == "serving" for state in states.values())


async def test_every_process_may_end_while_the_fleet_scales(model_dir: Path, tmp_path: Path) -> None:
    with redis_server() as redis, Mesh(model_dir, tmp_path, *FLAGS, "--redis-url", redis.url) as mesh:
        site = Site(mesh, redis, model_dir)
        await while_it_grows(site)
        await while_it_shrinks(site)
        await at_the_edge(site)
        pids = mesh.pids
        burst = site.load(3 * SEATS, 100)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(burst.run())
            await site.until(lambda states, _: serving(states) < 3)
            await burst.progress(1)
            assert await asyncio.to_thread(mesh.stop, signal.SIGTERM) == 0
        assert burst.faults() == []
        assert not any(map(is_alive, pids.values()))


async def while_it_grows(site: Site) -> None:
    """A loading worker, workers of both tiers, either router, and Redis."""
    mesh = site.mesh
    async with site.crowd(3 * SEATS):
        for number in (signal.SIGKILL, signal.SIGTERM):
            loading: list[int] = []
            name = "decode-2" if number == signal.SIGKILL else "decode-3"
            await asyncio.to_thread(
                mesh.wait_until,
                lambda name=name, loading=loading: (pid := mesh.loading(name)) and not loading.append(pid),
                "loading worker",
                WAIT_S,
            )
            os.kill(loading[0], number)
        await site.until(lambda states, _: serving(states) == 3, *ROUTERS)
        await site.end(signal.SIGKILL, "decode-1", "prefill-1")
        await site.end(signal.SIGTERM, "decode-2", "prefill-2")
        await site.until(lambda states, _: serving(states) == 3, *ROUTERS)
        first = await site.until(lambda _, decider: decider in ROUTERS)
        await site.end(signal.SIGKILL, first)
        second = await site.until(lambda _, decider: decider in ROUTERS and decider != first, *ROUTERS)
        site.redis.kill()
        await site.until(lambda _, decider: not decider, *ROUTERS)
        site.redis.start()
        await site.until(lambda _, decider: decider in ROUTERS, *ROUTERS)
        await site.end(signal.SIGTERM, second)
        await site.until(lambda states, decider: serving(states) == 3 and decider in ROUTERS, *ROUTERS)


async def while_it_shrinks(site: Site) -> None:
    """Two workers drain, with streams on them, and end before they have finished."""
    long = site.load(6, LONG_TOKENS)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(long.run())
        await long.progress(5)
        gone: set[str] = set()
        for number in (signal.SIGKILL, signal.SIGTERM):
            draining: list[str] = []

            def has_one(states: dict[str, str], _: str, draining: list[str] = draining) -> bool:
                draining[:] = [
                    name for name, state in states.items() if state == "draining" and name not in gone
                ]
                return bool(draining)

            await site.until(has_one, *ROUTERS)
            gone.add(draining[0])
            site.mesh.send(draining[0], number)
    assert long.faults() == []
    await site.until(lambda states, _: list(states.values()) == ["serving"], *ROUTERS)


async def at_the_edge(site: Site) -> None:
    """A gateway that is told to end finishes what it has; one that is killed takes its streams with it."""
    mesh = site.mesh
    told, cut, old = site.load(SEATS, 100), site.load(SEATS, LONG_TOKENS), []
    await told.run(lambda: old.append(mesh.send("gateway", signal.SIGTERM)), after_tokens=5)
    assert told.faults() == []
    await site.restarted("gateway", old[0])
    await asyncio.to_thread(mesh.wait_serving, WAIT_S)
    with pytest.raises(BaseExceptionGroup) as raised:
        await cut.run(lambda: old.append(mesh.send("gateway")), after_tokens=5)
    assert raised.group_contains(ConnectionCut)
    await site.restarted("gateway", old[1])
    await asyncio.to_thread(mesh.wait_serving, WAIT_S)
