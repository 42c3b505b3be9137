"""Starting, stopping, and what goes wrong before a mesh serves."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from services.common.store import connect, present
from tests.mesh.conftest import SIM
from tests.mesh.harness import Mesh, cpu_s, is_alive, run_cli
from tests.mesh.streams import Load
from tests.redis_server import redis_server, running_redis

IDLE_S = 3.0
IDLE_CPU_SHARE_MAX = 0.10
"""Heartbeats and load reports; a busy loop is ten times this."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_what_is_in_flight(own_mesh: Mesh, model_dir: Path, number: int) -> None:
    running = Load(own_mesh.url, model_dir, count=32, max_tokens=100)
    pids = own_mesh.pids.values()
    await running.run(lambda: own_mesh.process.send_signal(number), after_tokens=20)
    assert running.faults() == []
    assert await asyncio.to_thread(own_mesh.stop, 0) == 0
    assert not any(map(is_alive, pids))
    assert not own_mesh.is_ready


async def test_a_draining_mesh_takes_no_new_requests(own_mesh: Mesh, model_dir: Path) -> None:
    url = own_mesh.url
    running = Load(url, model_dir, count=1, max_tokens=300)

    async def knock() -> None:
        await running.progress(10)
        own_mesh.process.send_signal(signal.SIGTERM)
        late = Load(url, model_dir, count=1, max_tokens=1)
        while True:
            try:
                await late.run()
            except BaseExceptionGroup:
                return  # refused at the door
            if late.answers[0].status == 503:
                return
            late = Load(url, model_dir, count=1, max_tokens=1)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(running.run())
        tasks.create_task(knock())
    assert running.faults() == []


def test_a_second_signal_kills(own_mesh: Mesh) -> None:
    pids = own_mesh.pids.values()
    own_mesh.send("gateway", signal.SIGSTOP)  # it cannot drain
    own_mesh.process.send_signal(signal.SIGINT)
    own_mesh.wait_until(lambda: "draining" in own_mesh.said, "word of the drain", 10)
    own_mesh.stop(signal.SIGINT)
    assert not any(map(is_alive, pids))


def test_children_never_outlive_their_parent(own_mesh: Mesh) -> None:
    pids = own_mesh.pids
    own_mesh.process.kill()
    own_mesh.process.wait()
    for pid in pids.values():
        while is_alive(pid):
            os.sched_yield()


def test_a_dead_process_is_started_again_and_said(own_mesh: Mesh) -> None:
    for name in ("router", "prefill-1", "gateway"):
        own_mesh.wait_restarted(name, own_mesh.send(name))
        assert f"{name} died (SIGKILL); starting it again" in own_mesh.said


async def test_an_idle_mesh_burns_no_core(own_mesh: Mesh) -> None:
    pids = own_mesh.pids
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    await asyncio.sleep(IDLE_S)
    shares = {name: (cpu_s(pid) - before[name]) / IDLE_S for name, pid in pids.items()}
    assert {name: share for name, share in shares.items() if share > IDLE_CPU_SHARE_MAX} == {}


def refused(model_dir: Path, *flags: str) -> str:
    """The one line with which `pdmesh up` refuses; its exit code is 2."""
    result = run_cli(["up", "--model", str(model_dir), "--port", "0", *SIM, *flags])
    assert result.returncode == 2, result.stdout + result.stderr
    (line,) = result.stderr.splitlines()
    return line


def test_a_port_in_use_is_one_line(model_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(model_dir, "--port", str(port))
    assert line.startswith("pdmesh: port_in_use: gateway: ")
    assert str(port) in line


def test_a_wrong_engine_argument_is_one_line_that_names_the_nearest(model_dir: Path) -> None:
    line = refused(model_dir, "--decode-engine-arg", "max-num-seq=4")
    assert line.startswith("pdmesh: bad_setting: decode-1: ")
    assert "max-num-seqs" in line


def test_a_redis_that_is_away_is_one_line(model_dir: Path) -> None:
    line = refused(model_dir, "--redis-url", "redis://127.0.0.1:1/0")
    assert line.startswith("pdmesh: store_unavailable: ")


def test_a_directory_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    assert refused(tmp_path).startswith("pdmesh: model_missing: ")


async def test_processes_that_die_while_redis_is_away_end_nothing(model_dir: Path, tmp_path: Path) -> None:
    """Workers come back without it; a router does once it is there again, and is not given up before."""
    with redis_server() as redis, Mesh(model_dir, tmp_path, *SIM, "--redis-url", redis.url) as mesh:
        redis.kill()
        mesh.wait_restarted("decode-1", mesh.send("decode-1"))
        old_pid = mesh.send("router")
        refused = "router cannot start again (exit code 2: store_unavailable: "
        mesh.wait_until(lambda: mesh.said.count(refused) > 1, "second try", 60)
        redis.start()
        mesh.wait_restarted("router", old_pid)
        mesh.wait_serving()
        assert await asyncio.to_thread(mesh.stop) == 0


async def test_every_process_says_in_redis_that_it_is_there(model_dir: Path, tmp_path: Path) -> None:
    with running_redis() as url, Mesh(model_dir, tmp_path, *SIM, "--redis-url", url) as mesh:
        store = await connect(url)
        urls, pids = mesh.facts["urls"], mesh.pids
        there = {(name.partition("-")[0], pid, urls[name]) for name, pid in pids.items()}
        while {(r.role, r.pid, r.url) for r in await present(store)} != there:
            await asyncio.sleep(0.02)  # a process says that it is ready, then writes its record
        assert await asyncio.to_thread(mesh.stop) == 0
        assert await present(store) == []
        await store.close()
