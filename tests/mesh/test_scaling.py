"""`pdmesh up --autoscale`: workers come and go under load, and no stream notices."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pdmesh.operator.v1 import operator_pb2 as wire
from services.cli.operator.client import OperatorClient
from services.common.domain import Role
from tests.mesh.harness import Mesh, is_alive, run_cli
from tests.mesh.streams import Load

pytestmark = pytest.mark.timeout(240)
WAIT_S = 60.0
SEATS = 8
FEW = (
    *("--engine", "sim", "--engine-arg", "step-ms=20", "--engine-arg", "sequence-us=0"),
    *("--decode-engine-arg", f"max-num-seqs={SEATS}"),
    *("--autoscale", "--prefill-replicas-max", "1", "--decode-replicas-max", "3"),
    *("--decode-cold-start-ms", "2000", "--decode-down-cooldown-ms", "3000"),
    *("--decode-down-interval-ms", "500", "--decode-rate-window-ms", "1000"),
)


@pytest.fixture
def up(model_dir: Path, tmp_path: Path) -> Iterator:
    """Start a mesh with further flags."""
    with ExitStack() as stack:
        yield lambda *flags: stack.enter_context(Mesh(model_dir, tmp_path, *FEW, *flags))


async def workers(mesh: Mesh) -> dict[str, str]:
    """States of the decode workers."""
    async with OperatorClient(mesh.facts["urls"]["router"], 5_000, mesh.security) as client:
        fleet = await client.fleet()
    return {w.worker_id: w.state for w in fleet.workers if w.role == int(Role.DECODE)}


async def until(mesh: Mesh, condition) -> dict[str, str]:
    """Wait for the decode workers to be in such states."""
    async with asyncio.timeout(WAIT_S):
        while not condition(found := await workers(mesh)):
            await asyncio.sleep(0.05)
    return found


def serving(found: dict[str, str]) -> int:
    return sum(state == "serving" for state in found.values())


async def test_a_burst_starts_workers_and_quiet_ends_them_under_load(up, model_dir: Path) -> None:
    mesh = up()
    burst = Load(mesh.url, model_dir, count=3 * SEATS, max_tokens=400, prompt_tokens=50)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(burst.run())
        grown = await until(mesh, lambda found: serving(found) >= 2)
        pids = mesh.pids
    assert burst.faults() == []
    long = Load(mesh.url, model_dir, count=2, max_tokens=1_200, prompt_tokens=50, seed=2)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(long.run())
        left = await until(mesh, lambda found: len(found) == 1)
    assert long.faults() == []
    gone = [name for name in grown if name in pids and name not in left]
    mesh.wait_until(lambda: not any(is_alive(pids[name]) for name in gone), "ends", WAIT_S)
    assert "is drained and not needed: ending it" in mesh.said
    assert "died" not in mesh.said
    assert mesh.stop(signal.SIGTERM) == 0


async def test_a_spare_is_activated_and_another_one_loaded(up, model_dir: Path) -> None:
    """The new spare comes up only after a while, so whoever serves soon was loaded before."""
    # Nobody who came for the burst is sent away again before this has looked at what is there.
    stays = ("--decode-down-cooldown-ms", "60000")
    mesh = up("--decode-spares", "1", "--decode-engine-arg", "load-ms=1000", *stays)
    # On a slow machine the spare may come first, serve for the other one, and stand by once that is there.
    states = await until(mesh, lambda found: sorted(found.values()) == ["serving", "standby"])
    spare = next(name for name, state in states.items() if state == "standby")
    burst = Load(mesh.url, model_dir, count=2 * SEATS, max_tokens=500, prompt_tokens=50)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(burst.run())
        await until(mesh, lambda found: found[spare] == "serving")
        await until(mesh, lambda found: len(found) >= 3)
    assert burst.faults() == []
    assert spare in {answer.receipt["decode_worker"] for answer in burst.answers}
    told = run_cli(["scaling", "--router", mesh.facts["urls"]["router"]]).stdout.splitlines()
    assert any(" decode: " in line and " and 1 spare wanted" in line for line in told)
    assert told[-1] == "router decides; workers are started and ended by these numbers"
    loading, pids = mesh.loading("decode-3"), mesh.pids
    assert loading is not None
    mesh.process.kill()
    mesh.process.wait()
    while any(map(is_alive, [*pids.values(), loading])):
        await asyncio.sleep(0.01)


async def test_what_is_wanted_is_watched_only_while_the_supervisor_lives(up) -> None:
    mesh = up()
    async with OperatorClient(mesh.facts["urls"]["router"], 5_000, mesh.security) as client:
        async with asyncio.timeout(WAIT_S):
            while not (scaling := await client.scaling()).watchers:
                await asyncio.sleep(0.05)
        assert scaling.acts
        told: list[wire.WatchScalingResponse] = []
        async for news in client.watch_scaling():
            told.append(news)
            break
        assert (await client.scaling()).watchers >= 1
    assert told[0].known_workers == ["decode-1", "prefill-1"]
