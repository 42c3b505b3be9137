"""kill -9 in mid-stream: every stream ends complete and correct."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from services.common.limits import DEFAULTS
from tests.mesh.client import Answer, ConnectionCut, stream
from tests.mesh.harness import Mesh, is_alive
from tests.mesh.streams import Load

STREAMS = 64
TOKENS = 120
LONG_TOKENS = 400
"""Answers that are not over before a process is killed, however late this client sees their first tokens."""
DEADLY = 300


def load(mesh: Mesh, model_dir: Path, **options: int) -> Load:
    return Load(mesh.url, model_dir, **{"count": STREAMS, "max_tokens": TOKENS, **options})


async def run_and_kill(mesh: Mesh, model_dir: Path, name: str, **options: int) -> Load:
    """Kill one process once every stream has 20 tokens; returns when it is back and all streams are over."""
    running, killed = load(mesh, model_dir, **options), []
    await running.run(lambda: killed.append(mesh.send(name)), after_tokens=20)
    mesh.wait_restarted(name, killed[0])
    return running


async def test_streams_are_complete_and_correct(mesh: Mesh, model_dir: Path) -> None:
    running = load(mesh, model_dir)
    await running.run()
    assert running.faults() == []
    assert {answer.receipt["path"] for answer in running.answers} == {"disaggregated"}
    assert {answer.receipt["retries"] for answer in running.answers} == {0}


async def test_a_killed_decode_worker_loses_and_repeats_nothing(mesh: Mesh, model_dir: Path) -> None:
    running = await run_and_kill(mesh, model_dir, "decode-1", seed=2, max_tokens=LONG_TOKENS)
    assert running.faults() == []
    assert sum(answer.receipt["retries"] for answer in running.answers) > 0


async def test_a_killed_prefill_worker_costs_only_time(mesh: Mesh, model_dir: Path) -> None:
    running, killed = load(mesh, model_dir, seed=3, prompt_tokens=2_000, max_tokens=20), []

    async def kill_early() -> None:
        await asyncio.sleep(0.3)  # 64 prompts of 2 000 tokens take two workers 3.2 s
        killed.append(mesh.send("prefill-1"))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(running.run())
        tasks.create_task(kill_early())
    assert running.faults() == []
    mesh.wait_restarted("prefill-1", killed[0])


async def test_a_killed_router_loses_and_repeats_nothing(mesh: Mesh, model_dir: Path) -> None:
    running = await run_and_kill(mesh, model_dir, "router", seed=4)
    assert running.faults() == []


async def test_a_router_that_is_back_before_its_workers_takes_the_streams_once_it_can(
    own_mesh: Mesh, model_dir: Path
) -> None:
    running, killed, workers = load(own_mesh, model_dir), [], ("prefill-1", "decode-1")

    def act() -> None:
        for worker in workers:
            own_mesh.send(worker, signal.SIGSTOP)
        killed.append(own_mesh.send("router"))

    async def wake_later() -> None:
        await running.progress(20)
        await asyncio.to_thread(lambda: own_mesh.wait_until(lambda: killed, "kill", 10))
        await asyncio.to_thread(own_mesh.wait_restarted, "router", killed[0])
        await asyncio.sleep(0.5)  # the gateway has met the new router by then, and it serves no model
        for worker in workers:
            own_mesh.send(worker, signal.SIGCONT)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(running.run(act, after_tokens=20))
        tasks.create_task(wake_later())
    assert running.faults() == []


async def test_a_stopped_decode_worker_is_left_behind(mesh: Mesh, model_dir: Path) -> None:
    """A process that hangs, rather than dies, is noticed by its silence."""
    running, stopped = load(mesh, model_dir, seed=5), []
    await running.run(lambda: stopped.append(mesh.send("decode-2", signal.SIGSTOP)), after_tokens=20)
    mesh.send("decode-2", signal.SIGKILL)
    mesh.wait_restarted("decode-2", stopped[0])
    assert running.faults() == []


async def test_a_host_that_stands_still_for_longer_than_any_silence_is_borne_loses_nothing(
    mesh: Mesh, model_dir: Path
) -> None:
    """As an overcommitted one does: all wake together, and none takes another for dead."""
    running, pids = load(mesh, model_dir, seed=8), list(mesh.pids.values())
    losses = mesh.logs(lines=10_000).count("has been silent")

    def stand_still() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(DEFAULTS.heartbeat_timeout_ms / 1e3 + 1.0)  # this client is on that host, too
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    await running.run(stand_still, after_tokens=20)
    assert running.faults() == []
    assert {answer.receipt["retries"] for answer in running.answers} == {0}
    assert mesh.logs(lines=10_000).count("has been silent") == losses


async def test_a_killed_gateway_cuts_its_clients_and_leaves_nothing_behind(
    mesh: Mesh, model_dir: Path
) -> None:
    running = load(mesh, model_dir, seed=6, max_tokens=LONG_TOKENS)
    with pytest.raises(BaseExceptionGroup) as cut:
        await run_and_kill_gateway(mesh, running)
    assert cut.group_contains(ConnectionCut)
    mesh.wait_serving()
    after = load(mesh, model_dir, seed=7)
    await after.run()
    assert after.faults() == []


@pytest.mark.parametrize("exits", ["false", "true"])
async def test_a_prompt_that_kills_workers_kills_two_and_harms_nobody_else(
    model_dir: Path, tmp_path: Path, exits: str
) -> None:
    """Whether the engine reports its death or takes its process with it, after a step that is long enough."""
    faults = ("--engine-arg", f"deadly-token={DEADLY}", "--engine-arg", f"exit-on-death={exits}")
    slow = ("--engine", "sim", "--engine-arg", "step-ms=400", "--engine-arg", "sequence-us=0")
    with Mesh(model_dir, tmp_path, "--prefill", "3", "--decode", "1", *slow, *faults) as mesh:
        others = load(mesh, model_dir, count=8, max_tokens=10)
        poison, before = load(mesh, model_dir, count=1, max_tokens=5), mesh.pids
        poison.prompts = [[DEADLY] * 200]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(others.run())
            await others.progress(1)
            await poison.run()
        assert poison.answers[0].error["code"] == "quarantined_prompt"
        assert others.faults() == []
        dead = [name for name, pid in before.items() if not is_alive(pid)]
        assert len(dead) == 2, dead


async def run_and_kill_gateway(mesh: Mesh, running: Load) -> None:
    killed: list[int] = []
    try:
        await running.run(lambda: killed.append(mesh.send("gateway")), after_tokens=20)
    finally:
        mesh.wait_restarted("gateway", killed[0])


async def test_a_mesh_with_one_decode_worker_waits_for_its_return(own_mesh: Mesh, model_dir: Path) -> None:
    running = await run_and_kill(own_mesh, model_dir, "decode-1")
    assert running.faults() == []
    assert "decode-1 died (SIGKILL)" in own_mesh.said


async def test_a_client_that_leaves_frees_its_place(own_mesh: Mesh, model_dir: Path) -> None:
    answer = Answer()
    body = load(own_mesh, model_dir, max_tokens=4_000).body([1] * 100)
    leaving = asyncio.create_task(stream(f"{own_mesh.url}/v1/completions", body, answer))
    while len(answer.arrivals_s) < 5:
        await asyncio.sleep(0.01)
    leaving.cancel()
    await asyncio.wait([leaving])
    while open_streams(await metrics(own_mesh.url)):
        await asyncio.sleep(0.02)


async def metrics(url: str) -> str:
    """The gateway's metrics page."""
    import httpx

    async with httpx.AsyncClient() as client:
        return (await client.get(f"{url}/metrics")).text


def open_streams(page: str) -> float:
    (line,) = [line for line in page.splitlines() if line.startswith("pdmesh_gateway_open_streams ")]
    return float(line.split()[1])
