"""An operator at work on a mesh under load: nothing is lost, and what is asked for happens."""

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pdmesh.operator.v1 import operator_pb2 as wire
from pdmesh.types.v1 import types_pb2
from services.cli.operator.client import OperatorClient, Order
from tests.mesh.conftest import SIM
from tests.mesh.harness import Mesh, run_cli
from tests.mesh.streams import Load

STREAMS = 16
TOKENS = 500
"""About 4 s of answer: an order given in mid-stream is carried out in mid-stream."""
CANARY_MS = "50"
DOCTOR_S_MAX = 30.0


@pytest.fixture
def operated(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mesh]:
    """Two of each, whose roles may change at any time, and so few blocks of KV that both decode workers are
    asked, though one may have been slow in its first steps."""
    monkeypatch.setenv("PDMESH_ROUTER_ROLE_DWELL_MS_MIN", "0")
    few = ("--decode-engine-arg", "kv-blocks=1024")
    with Mesh(model_dir, tmp_path, "--prefill", "2", "--decode", "2", *SIM, *few) as running:
        yield running


def operate(mesh: Mesh, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """One operator command."""
    return run_cli([*arguments, "--router", mesh.facts["urls"]["router"]])


async def order(mesh: Mesh, request: Order) -> dict[str, str]:
    """Give an order without starting a process for it; workers' states right after."""
    async with OperatorClient(mesh.facts["urls"]["router"], 5_000, mesh.security) as client:
        await client.order(request)
        return {worker.worker_id: worker.state for worker in (await client.fleet()).workers}


def workers(mesh: Mesh) -> dict[str, dict[str, Any]]:
    """What `pdmesh fleet --json` says of each worker."""
    fleet = json.loads(operate(mesh, "fleet", "--json").stdout)
    return {worker["worker_id"]: worker for worker in fleet["workers"]}


def load(mesh: Mesh, model_dir: Path, **options: int) -> Load:
    return Load(mesh.url, model_dir, **{"count": STREAMS, "max_tokens": TOKENS, **options})


def told(running: Load, name: str) -> set[Any]:
    """All values of one field of the receipts."""
    return {answer.receipt[name] for answer in running.answers}


async def test_a_role_changes_under_load_and_nothing_is_lost(operated: Mesh, model_dir: Path) -> None:
    running = load(operated, model_dir)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(running.run())
        await running.progress(10)
        request = wire.SetRoleRequest(worker_id="decode-1", role=types_pb2.ROLE_PREFILL)
        assert (await order(operated, request))["decode-1"] == "flipping"
    assert running.faults() == []
    assert told(running, "retries") == {0}
    assert told(running, "decode_worker") == {"decode-1", "decode-2"}
    operated.wait_until(lambda: workers(operated)["decode-1"]["role"] == "prefill", "new role", 10)
    after = load(operated, model_dir, seed=2, max_tokens=10, prompt_tokens=1_000)
    await after.run()
    assert after.faults() == []
    assert told(after, "decode_worker") == {"decode-2"}
    assert "decode-1" in told(after, "prefill_worker")


async def test_a_worker_drains_under_load(operated: Mesh, model_dir: Path) -> None:
    running, later = load(operated, model_dir), load(operated, model_dir, seed=2, max_tokens=10)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(running.run())
        await running.progress(10)
        await order(operated, wire.DrainRequest(worker_id="decode-1"))
        await later.run()
    assert running.faults() == later.faults() == []
    assert told(running, "decode_worker") == {"decode-1", "decode-2"}
    assert told(running, "retries") == {0}
    assert told(later, "decode_worker") == {"decode-2"}
    drained = workers(operated)["decode-1"]
    assert (drained["state"], drained["running_requests"], drained["kv_blocks_reserved"]) == (
        "draining",
        0,
        0,
    )


async def test_a_spare_gets_nothing_until_it_is_activated(model_dir: Path, tmp_path: Path) -> None:
    """The one decode worker has room for four; the others wait in the router and go where room appears."""
    few = ("--decode-engine-arg", "max-num-seqs=4")
    with Mesh(model_dir, tmp_path, "--standby-decode", "1", *SIM, *few) as mesh:
        assert workers(mesh)["decode-2"]["state"] == "standby"
        running = load(mesh, model_dir, max_tokens=200)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(running.run())
            while sum(len(answer.text.split()) > 50 for answer in running.answers) < 4:
                await asyncio.sleep(0.01)
            activated_s = time.perf_counter()
            await order(mesh, wire.ActivateRequest(worker_id="decode-2"))
        assert running.faults() == []
        assert told(running, "decode_worker") == {"decode-1", "decode-2"}
        spares = [a for a in running.answers if a.receipt["decode_worker"] == "decode-2"]
        first_s = min(answer.arrivals_s[:2][-1] for answer in spares)
        print(f"from activation to the spare's first token: {(first_s - activated_s) * 1e3:.0f} ms")
        assert first_s > activated_s


def test_every_command_does_what_it_says(operated: Mesh) -> None:
    for arguments, name, value in (
        (("drain", "decode-1"), "state", "draining"),
        (("undrain", "decode-1"), "state", "serving"),
        (("standby", "decode-1"), "state", "standby"),
        (("activate", "decode-1"), "state", "serving"),
        (("role", "decode-1", "both"), "role", "both"),
    ):
        done = operate(operated, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert workers(operated)["decode-1"][name] == value
    assert operate(operated, "dry-run", "--prompt-tokens", "100").stdout.startswith("disaggregated (")
    assert operate(operated, "threshold", "100").returncode == 0
    assert operate(operated, "dry-run", "--prompt-tokens", "100").stdout.startswith("local (short_prompt): ")
    assert operate(operated, "forgive").stdout.startswith("forgiven: 0 ")
    assert "nothing waits" in operate(operated, "fleet").stdout
    refused = operate(operated, "drain", "nobody")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "pdmesh: worker_not_found: no worker named 'nobody' is attached\n"


def examined(mesh: Mesh, sign: str) -> "subprocess.CompletedProcess[str]":
    """What the doctor says once it says so for every pair."""
    said: list[subprocess.CompletedProcess[str]] = []

    def has_come() -> bool:
        said.append(operate(mesh, "doctor"))
        pairs = [line for line in said[-1].stdout.splitlines() if " -> " in line]
        return bool(pairs) and all(sign in line for line in pairs)

    mesh.wait_until(has_come, f"doctor's {sign!r}", DOCTOR_S_MAX)
    return said[-1]


async def test_the_doctor_finds_a_healthy_mesh_well(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDMESH_ROUTER_CANARY_INTERVAL_MS", CANARY_MS)
    with Mesh(model_dir, tmp_path, "--prefill", "2", "--decode", "2", *SIM) as mesh:
        running = load(mesh, model_dir, max_tokens=50)
        await running.run()
        assert running.faults() == [], "canaries disturb nobody"
        healthy = examined(mesh, "canary equal")
        assert healthy.returncode == 0, healthy.stdout
        assert {line.split()[0] for line in healthy.stdout.splitlines()} == {"ok"}


async def test_the_doctor_finds_wrong_kv_and_no_client_gets_any(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDMESH_ROUTER_CANARY_INTERVAL_MS", CANARY_MS)
    with Mesh(model_dir, tmp_path, *SIM, "--decode-engine-arg", "corrupt-adopted=true") as mesh:
        sick = examined(mesh, "the pair is held")
        assert sick.returncode == 1
        assert [line.split()[0] for line in sick.stdout.splitlines()].count("WRONG") == 1
        running = load(mesh, model_dir, max_tokens=50)
        await running.run()
        assert running.faults() == []
        assert told(running, "path") == {"local"}
        assert told(running, "path_reason") == {"pair_suspended"}


def test_the_doctor_finds_the_router_by_the_ready_file(own_mesh: Mesh) -> None:
    found = run_cli(["doctor", "--ready-file", str(own_mesh.ready_file)])
    assert found.returncode == 0, found.stdout + found.stderr
    assert own_mesh.stop() == 0
    gone = run_cli(["doctor", "--ready-file", str(own_mesh.ready_file)])
    assert (gone.returncode, gone.stdout) == (2, "")
    assert gone.stderr.startswith("pdmesh: bad_setting: --ready-file: no ")
