"""Gateway and router in one process: what a client and an operator can ask of two holds of one."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.client import Answer, ConnectionCut, stream
from tests.mesh.conftest import SIM
from tests.mesh.harness import Mesh, run_cli
from tests.mesh.streams import Load

STREAMS, TOKENS = 64, 120
SECRET = "a-secret-of-the-mesh-that-is-long"
PAIRS = ("--prefill", "2", "--decode", "2")


@pytest.fixture(scope="module")
def edge(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with Mesh(model_dir, tmp_path_factory.mktemp("edge"), "--edge", *PAIRS, *SIM) as running:
        yield running


def load(mesh: Mesh, model_dir: Path, seed: int = 1) -> Load:
    return Load(mesh.url, model_dir, count=STREAMS, max_tokens=TOKENS, seed=seed)


def in_flight(mesh: Mesh) -> int:
    """Requests that the router has, as its operators see it."""
    told = run_cli(["fleet", "--json", "--ready-file", str(mesh.ready_file)])
    assert told.returncode == 0, told.stderr
    return int(json.loads(told.stdout)["open_requests"])


async def test_streams_are_complete_and_correct(edge: Mesh, model_dir: Path) -> None:
    assert set(edge.pids) == {"edge", "prefill-1", "prefill-2", "decode-1", "decode-2"}
    running = load(edge, model_dir)
    await running.run()
    assert running.faults() == []
    assert {answer.receipt["path"] for answer in running.answers} == {"disaggregated"}
    assert {answer.receipt["retries"] for answer in running.answers} == {0}


async def test_a_killed_worker_loses_and_repeats_nothing(edge: Mesh, model_dir: Path) -> None:
    running, killed = load(edge, model_dir, seed=2), []
    await running.run(lambda: killed.append(edge.send("decode-1")), after_tokens=20)
    edge.wait_restarted("decode-1", killed[0])
    assert running.faults() == []


async def test_a_client_that_leaves_frees_what_it_had(edge: Mesh, model_dir: Path) -> None:
    running = Load(edge.url, model_dir, count=8, max_tokens=1_500)
    task = asyncio.create_task(running.run())
    await running.progress(5)
    assert await asyncio.to_thread(in_flight, edge) == 8
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    while await asyncio.to_thread(in_flight, edge):
        await asyncio.sleep(0.05)


async def test_an_edge_that_is_killed_cuts_its_clients_and_comes_back(edge: Mesh, model_dir: Path) -> None:
    answer = Answer()
    body = Load(edge.url, model_dir, count=1, max_tokens=1_500).body([1, 2, 3])
    task = asyncio.create_task(stream(f"{edge.url}/v1/completions", body, answer))
    while answer.text.count(" w") < 5:
        await asyncio.sleep(0.005)
    pid = edge.send("edge")
    with pytest.raises(ConnectionCut):
        await task
    await asyncio.to_thread(edge.wait_restarted, "edge", pid)
    await asyncio.to_thread(edge.wait_serving)
    running = load(edge, model_dir, seed=3)
    await running.run()
    assert running.faults() == [], "workers have found it, and freed what the dead one had"


async def test_a_signal_drains_what_is_in_flight(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDMESH_UP_MESH_SECRET", SECRET)
    with Mesh(model_dir, tmp_path, "--edge", *SIM) as mesh:
        running = Load(mesh.url, model_dir, count=32, max_tokens=100)
        await running.run(lambda: mesh.process.send_signal(signal.SIGTERM), after_tokens=20)
        assert running.faults() == []
        assert await asyncio.to_thread(mesh.stop, 0) == 0
