"""Processes are kept running, and stopped in order; the children here are small scripts."""

import asyncio
import io
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from services.cli.child import Child
from services.cli.output import Output
from services.cli.plan import ChildSpec
from services.cli.restarts import RestartPolicy
from services.cli.supervisor import Supervisor
from services.common.clock import MonotonicClock
from services.common.errors import CrashLoop, PortInUse, Startup

READY = """
import argparse, json, os, signal, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--ready-fd", type=int)
parser.add_argument("--parent-pid", type=int)
fd = parser.parse_known_args()[0].ready_fd
def ready():
    with os.fdopen(fd, "w") as pipe:
        pipe.write(json.dumps({"url": "here"}) + "\\n")
"""
SERVES = READY + "print('hello', flush=True); ready(); time.sleep(60)"
LEAVES_IN_ORDER = (
    READY
    + """
def leave(*_):
    with open(TRACE, "a") as trace:
        trace.write(NAME + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
ready()
time.sleep(60)
"""
)
STUBBORN = READY + "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); time.sleep(60)"
DIES_AT_ONCE = "import sys; sys.exit(7)"
CANNOT_START = "import sys; print('pdmesh: port_in_use: cannot listen', file=sys.stderr); sys.exit(2)"
CANNOT_SAY_WHY = "import sys; sys.exit(2)"
LEAVES_A_CHILD = READY + (
    "import subprocess; p = subprocess.Popen(['sleep', '60'], start_new_session=False);"
    "print(p.pid, flush=True); ready(); os._exit(1)"
)
LONG_LINE = "import sys; sys.stdout.buffer.write(b'x' * 70_000 + b'\\xff')"


class Mesh:
    """A supervisor in a task, and what it printed."""

    def __init__(self, *specs: ChildSpec, grace_ms: int = 5_000, deaths_max: int = 5) -> None:
        self._stream = io.StringIO()
        clock = MonotonicClock()
        output = Output(clock, stream=self._stream)
        policy = partial(RestartPolicy, deaths_max, given_up_delay_ms=50.0)
        self.supervisor = Supervisor(specs, output, clock, grace_ms, policy)
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.supervisor.run(self.stop))

    @property
    def said(self) -> str:
        return self._stream.getvalue()

    async def ready(self) -> dict[str, Child]:
        waiting = asyncio.create_task(self.supervisor.all_ready.wait())
        await asyncio.wait([waiting, self.task], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.task.done():
            self.task.result()
        return self.supervisor.ready

    async def end(self) -> None:
        self.stop.set()
        await self.task


def script(name: str, text: str, service: str = "") -> ChildSpec:
    return ChildSpec(name, service or name, (sys.executable, "-c", text))


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_output_is_prefixed_and_facts_are_kept() -> None:
    mesh = Mesh(script("router", SERVES))
    ready = await mesh.ready()
    assert ready["router"].facts == {"url": "here"}
    pid = ready["router"].pid
    await mesh.end()
    assert "router | hello\n" in mesh.said
    assert not is_alive(pid)


async def test_a_dead_process_is_started_again_and_said() -> None:
    mesh = Mesh(script("router", SERVES))
    first = (await mesh.ready())["router"].pid
    changed = asyncio.Event()
    mesh.supervisor.on_change = changed.set
    os.kill(first, signal.SIGKILL)
    await changed.wait()
    second = mesh.supervisor.ready["router"].pid
    assert second != first
    assert is_alive(second)
    await mesh.end()
    assert "router died (SIGKILL); starting it again in 0.2 s" in mesh.said


async def test_a_crash_loop_ends_the_mesh() -> None:
    mesh = Mesh(script("gateway", SERVES), script("router", DIES_AT_ONCE), deaths_max=2)
    with pytest.raises(CrashLoop, match="router died 3 times in 60 s: exit code 7"):
        await mesh.task
    assert not is_alive(mesh.supervisor._children["gateway"].pid)


@pytest.mark.parametrize(
    ("looping", "others"),
    [("decode-1", ("decode-2",)), ("prefill-1", ("decode-1",)), ("router-2", ("router", "decode-1"))],
)
async def test_a_mesh_that_can_serve_goes_on_without_one_that_dies_again_and_again(
    looping: str, others: tuple[str, ...]
) -> None:
    specs = [script(name, SERVES, name.partition("-")[0]) for name in others]
    mesh = Mesh(script(looping, DIES_AT_ONCE, looping.partition("-")[0]), *specs, deaths_max=1)
    told: list[tuple[str, str]] = []
    again = asyncio.Event()

    def given_up(name: str, why: str) -> None:
        told.append((name, why))
        if len(told) > 2:
            again.set()

    mesh.supervisor.on_given_up = given_up
    assert set(await mesh.ready()) == set(others)
    async with asyncio.timeout(30):
        await again.wait()  # it is tried again and again
    assert set(mesh.supervisor.ready) == set(others)
    assert set(told) == {(looping, "died 2 times in 60 s: exit code 7")}
    assert f"{looping} is given up, and the mesh goes on without it: it died 2 times" in mesh.said
    await mesh.end()


async def test_one_that_was_given_up_and_serves_after_all_is_as_good_as_the_others(tmp_path: Path) -> None:
    flag = tmp_path / "mended"
    text = f"import os, sys\nif not os.path.exists({str(flag)!r}): sys.exit(7)\n{SERVES}"
    mesh = Mesh(script("decode-1", text, "decode"), script("decode-2", SERVES, "decode"), deaths_max=0)
    back = asyncio.Event()
    mesh.supervisor.on_change = lambda: back.set() if "decode-1" in mesh.supervisor.ready else None
    await mesh.ready()
    flag.touch()
    async with asyncio.timeout(30):
        await back.wait()
    assert mesh.supervisor._given_up == set()
    await mesh.end()


async def test_a_mesh_that_cannot_go_on_drains_before_it_ends(tmp_path: Path) -> None:
    trace, flag = tmp_path / "trace", tmp_path / "broken"
    leaves = f"NAME = 'gateway'\nTRACE = {str(trace)!r}\n{LEAVES_IN_ORDER}"
    breaks = f"import os, sys\nif os.path.exists({str(flag)!r}): sys.exit(7)\n{SERVES}"
    mesh = Mesh(script("gateway", leaves), script("decode-1", breaks, "decode"), deaths_max=1)
    ready = await mesh.ready()
    flag.touch()
    os.kill(ready["decode-1"].pid, signal.SIGKILL)
    with pytest.raises(CrashLoop, match="decode-1 died 2 times in 60 s: exit code 7"):
        await mesh.task
    assert trace.read_text() == "gateway\n"


async def test_when_all_of_a_tier_die_again_and_again_the_mesh_ends() -> None:
    workers = [script(f"decode-{n}", DIES_AT_ONCE, "decode") for n in (1, 2)]
    mesh = Mesh(script("gateway", SERVES), *workers, deaths_max=1)
    with pytest.raises(CrashLoop, match=r"decode-. died 2 times"):
        await mesh.task


async def test_a_standby_worker_does_no_work_for_another() -> None:
    spare = script("decode-2", SERVES, "decode")
    spare = replace(spare, command=(*spare.command, "--standby"))
    mesh = Mesh(script("decode-1", DIES_AT_ONCE, "decode"), spare, deaths_max=0)
    with pytest.raises(CrashLoop, match="decode-1"):
        await mesh.task


async def test_a_process_that_the_system_cannot_start_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.cli.supervisor.STORE_RETRY_S", 0.01)
    start, attempts = Child._start, []

    async def starts_late(child: Child, pipes: list[tuple[int, int]]) -> asyncio.subprocess.Process:
        attempts.append(child)
        if len(attempts) < 4:
            pipes.append(os.pipe())
            raise OSError(24, "Too many open files")
        return await start(child, pipes)

    monkeypatch.setattr(Child, "_start", starts_late)
    mesh = Mesh(script("router", SERVES), deaths_max=0)
    assert set(await mesh.ready()) == {"router"}
    assert "router cannot start again (no process can be started: Too many open files)" in mesh.said
    await mesh.end()


async def test_what_cannot_start_ends_the_mesh_in_its_own_words() -> None:
    mesh = Mesh(script("gateway", SERVES), script("router", CANNOT_START))
    with pytest.raises(PortInUse, match=r"^router: cannot listen$"):
        await mesh.task
    assert "cannot listen" not in mesh.said
    assert not is_alive(mesh.supervisor._children["gateway"].pid)


async def test_exit_code_2_without_words_is_still_one_line() -> None:
    mesh = Mesh(script("router", CANNOT_SAY_WHY))
    with pytest.raises(Startup, match=r"^router: exit code 2$"):
        await mesh.task


async def test_tiers_stop_one_after_another(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    names = ["router", "decode", "gateway"]
    texts = {name: f"NAME = {name!r}\nTRACE = {str(trace)!r}\n{LEAVES_IN_ORDER}" for name in names}
    mesh = Mesh(*(script(name, text) for name, text in texts.items()))
    await mesh.ready()
    await mesh.end()
    assert trace.read_text().split() == ["gateway", "decode", "router"]


@pytest.mark.parametrize("order", ["terminate", "kill"])
async def test_a_child_that_is_told_to_end_while_it_starts_ends(order: str) -> None:
    child = Child(script("decode-1", SERVES), lambda _: None)
    running = asyncio.create_task(child.run(lambda _: None))
    await asyncio.sleep(0)  # the process is being made, and has no pid yet
    assert child.pid == 0
    getattr(child, order)()
    async with asyncio.timeout(10):
        end = await running
    assert end.code == {"terminate": -signal.SIGTERM, "kill": -signal.SIGKILL}[order]


async def test_a_child_that_is_told_to_end_before_it_starts_ends() -> None:
    child = Child(script("decode-1", SERVES), lambda _: None)
    child.terminate()
    async with asyncio.timeout(10):
        end = await child.run(lambda _: None)
    assert end.code == -signal.SIGTERM


async def test_what_does_not_drain_in_time_is_killed() -> None:
    mesh = Mesh(script("decode-1", STUBBORN, "decode"), grace_ms=100)
    pid = (await mesh.ready())["decode-1"].pid
    await mesh.end()
    assert not is_alive(pid)
    assert "killing what did not drain in 0 s: decode-1" in mesh.said


async def test_one_that_is_not_needed_any_more_and_does_not_end_is_killed() -> None:
    mesh = Mesh(script("router", SERVES), script("decode-1", STUBBORN, "decode"), grace_ms=100)
    pid = (await mesh.ready())["decode-1"].pid
    gone = asyncio.Event()
    mesh.supervisor.on_change = gone.set
    assert mesh.supervisor.retire("decode-1")
    assert not mesh.supervisor.retire("decode-1"), "it has been told so"
    async with asyncio.timeout(10):
        await gone.wait()
    assert not is_alive(pid)
    assert mesh.supervisor.members("decode") == []
    assert "killing decode-1, which did not end in 0 s" in mesh.said
    await mesh.end()


async def test_what_a_dead_process_had_started_dies_too() -> None:
    lines: list[str] = []
    child = Child(script("decode-1", LEAVES_A_CHILD), lines.append)
    end = await child.run(lambda _: None)
    assert end.code == 1
    grandchild = int(lines[0])
    while is_alive(grandchild):
        await asyncio.sleep(0.01)


async def test_the_log_directory_gets_one_file_per_process(tmp_path: Path) -> None:
    output = Output(MonotonicClock(), tmp_path / "logs", io.StringIO())
    output.open_logs(["router"])
    lines: list[str] = []
    child = Child(script("router", LONG_LINE), lines.append)
    await child.run(lambda _: None)
    for text in lines:
        output.child_line("router", text)
    output.close()
    assert (tmp_path / "logs" / "router.log").read_text().replace("\n", "").startswith("x" * 70_000)


def test_restarts_wait_longer_each_time_and_end() -> None:
    policy = RestartPolicy(deaths_max=3, window_ms=1_000.0)
    assert [policy.delay_ms(float(at)) for at in (0, 10, 20, 30)] == [200.0, 400.0, 800.0, None]


def test_old_deaths_are_forgotten() -> None:
    policy = RestartPolicy(deaths_max=1, window_ms=1_000.0)
    assert [policy.delay_ms(float(at)) for at in (0, 1_000, 2_000)] == [200.0, 200.0, 200.0]
