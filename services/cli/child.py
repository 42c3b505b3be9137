"""One process of the mesh: started, listened to, ended."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.cli.plan import ChildSpec

LINE_BYTES_MAX = 64 * 1024
"""A longer line of output is cut into several."""
PIPE_CLOSE_S = 1.0
"""Output may follow a process's end this long, from what it started itself."""
NEVER_STARTED = 256
"""In the place of an exit code, of which the highest is 255."""
STARTUP_PREFIX = "pdmesh: "
"""How the line begins with which a process says why it could not start."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended."""

    code: int
    """Exit code, or the negative number of the signal."""
    last_words: str
    """The line in which it said why it could not start; "" without one."""

    def __str__(self) -> str:
        if self.code == NEVER_STARTED:
            return self.last_words
        how = f"exit code {self.code}" if self.code >= 0 else signal.Signals(-self.code).name
        return f"{how}: {self.last_words}" if self.last_words else how


class Child:
    """A process from start to end; `wait` must run for its output to flow."""

    def __init__(self, spec: ChildSpec, on_line: Callable[[str], None]) -> None:
        self.spec = spec
        self.facts: dict[str, str] | None = None
        """What it said when it was ready; None until then."""
        self.ended = asyncio.Event()
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._told: signal.Signals | None = None
        """What it was last told to end by, perhaps before there was a process to tell."""
        self._last_words = ""

    @property
    def pid(self) -> int:
        """Process id; 0 before the start."""
        return self._process.pid if self._process else 0

    async def run(self, on_ready: Callable[["Child"], None]) -> Exit:
        """Start, call `on_ready` once it serves, and return when it and what it started have ended."""
        pipes: list[tuple[int, int]] = []
        try:
            process = self._process = await self._start(pipes)
        except OSError as error:  # no descriptors, no memory: for a while, perhaps
            for read, _ in pipes:
                os.close(read)
            self.ended.set()
            return Exit(NEVER_STARTED, f"no process can be started: {error.strerror}")
        finally:
            for _, write in pipes:
                os.close(write)
        out, err, ready = (read for read, _ in pipes)
        self._tell()
        try:
            async with asyncio.TaskGroup() as tasks:
                listeners = [self._relay(out), self._relay(err), self._await_ready(ready, on_ready)]
                listening = [tasks.create_task(listener) for listener in listeners]
                code = await process.wait()
                self.kill()  # what it may have started itself
                _, late = await asyncio.wait(listening, timeout=PIPE_CLOSE_S)
                for task in late:
                    task.cancel()
        finally:
            self.kill()
            await process.wait()
            self.ended.set()
        return Exit(code, self._last_words)

    def terminate(self) -> None:
        """Ask it to drain and end; what is only being started is asked once it is there."""
        self._told = self._told or signal.SIGTERM
        self._tell()

    def kill(self) -> None:
        """End it and everything that it started, at once; what is only being started, once it is there."""
        self._told = signal.SIGKILL
        self._tell()

    def _tell(self) -> None:
        if self._process is None or self._told is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._told is signal.SIGKILL:
                os.killpg(self._process.pid, signal.SIGKILL)
            elif self._process.returncode is None:
                self._process.terminate()

    async def _start(self, pipes: list[tuple[int, int]]) -> asyncio.subprocess.Process:
        """The process, with pipes that the caller closes; raises OSError."""
        # Pipes of our own: asyncio's would keep wait() from returning while a grandchild holds them open.
        pipes.extend(os.pipe() for _ in range(3))
        out, err, ready = (write for _, write in pipes)
        return await asyncio.create_subprocess_exec(
            *self.spec.command,
            *("--ready-fd", str(ready), "--parent-pid", str(os.getpid())),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **dict(self.spec.environ)},
            pass_fds=[ready],
            start_new_session=True,  # Ctrl-C in the terminal is ours alone to hear
        )

    async def _await_ready(self, fd: int, on_ready: Callable[["Child"], None]) -> None:
        async with reading(fd) as stream:
            line = await stream.readline()
        if line.endswith(b"\n"):  # otherwise it ended before it was ready
            self.facts = json.loads(line)
            on_ready(self)

    async def _relay(self, fd: int) -> None:
        rest = b""
        async with reading(fd) as stream:
            while chunk := await stream.read(LINE_BYTES_MAX):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > LINE_BYTES_MAX:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._take(line)
        if rest:
            self._take(rest)

    def _take(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        if text.startswith(STARTUP_PREFIX):
            self._last_words = text.removeprefix(STARTUP_PREFIX)
        else:
            self._on_line(text)


@asynccontextmanager
async def reading(fd: int) -> AsyncIterator[asyncio.StreamReader]:
    """The read end of a pipe as a stream; closed at the end."""
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(fd, "rb")
    )
    try:
        yield stream
    finally:
        transport.close()
