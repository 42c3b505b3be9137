"""Standard output and error that never make this process wait for who reads them.

A paused terminal, a pager or a stopped log collector reads nothing, and a write to it would stand still, with
it the event loop, and every request. So both descriptors become pipes that a thread empties at once, and
another thread passes on. That covers all who write: `print`, logging, libraries in C, an engine's processes.
"""

import atexit
import contextlib
import fcntl
import io
import os
import select
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TextIO

from services.common.limits import DEFAULTS
from services.common.telemetry.waiting_output import WaitingOutput

PIPE_BYTES = 1024 * 1024
"""Room in the pipe between two reads, where the system allows so much."""
READ_BYTES = 64 * 1024
BATCH_S = 0.01
"""Output is passed on so often, since every wake of a thread costs more than a line."""
LAST_WORDS_S = 1.0
"""At the end of the process its reader has so long to read what is left."""


def relay_output(
    notice: Callable[[int], str], size_bytes_max: int = DEFAULTS.output_waiting_bytes_max
) -> Mapping[str, WaitingOutput]:
    """Put relays in the place of this process's standard output and error; what waits there, by name.

    `notice` makes the line that is written once a reader reads again: how many lines were dropped.
    """
    waiting: dict[str, WaitingOutput] = {}
    relayed: dict[tuple[int, int], int] = {}  # one relay for each file: two would cut each other's lines
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):
            continue  # a process may have none, or have put something of its own there
        stream.flush()
        fd, is_terminal, file = stream.fileno(), stream.isatty(), os.fstat(stream.fileno())
        if first := relayed.get((file.st_dev, file.st_ino)):
            os.dup2(first, fd)
        else:
            relay = Relay(fd, notice, size_bytes_max)
            atexit.register(relay.end)
            waiting[name], relayed[file.st_dev, file.st_ino] = relay.waiting, fd
        text = RelayedText(stream, is_terminal)
        setattr(sys, name, text)
        atexit.register(text.flush)  # these run before the relays' ends
    return waiting


class RelayedText(io.TextIOWrapper):
    """A standard stream that still knows whether it ends at a terminal."""

    def __init__(self, stream: TextIO, is_terminal: bool) -> None:
        raw = io.FileIO(stream.fileno(), "w", closefd=False)
        super().__init__(io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=True)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Whether a person reads at a terminal."""
        return self._is_terminal


class Relay:
    """One descriptor's output, from a pipe to where the descriptor led before."""

    def __init__(self, fd: int, notice: Callable[[int], str], size_bytes_max: int) -> None:
        """Puts the pipe in the descriptor's place."""
        self.waiting = WaitingOutput(size_bytes_max, notice)
        self._target = os.dup(fd)
        self._source, sink = os.pipe()
        os.set_blocking(self._source, False)
        with contextlib.suppress(OSError):  # the system's bound for one user; the usual size will do
            fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.dup2(sink, fd)
        os.close(sink)
        self._collecting = threading.Lock()
        self._is_ending = threading.Event()
        for work in (self._collect, self._pass_on):
            threading.Thread(target=work, daemon=True, name=f"output-{fd}{work.__name__}").start()

    def end(self) -> None:
        """Pass on what has been written until now, as far as its reader takes it within `LAST_WORDS_S`."""
        self._is_ending.set()
        while self._move():
            pass
        self.waiting.close(LAST_WORDS_S)

    def _collect(self) -> None:
        while not self._is_ending.wait(BATCH_S):
            select.select([self._source], [], [])
            self._move()

    def _move(self) -> bool:
        """Take what is in the pipe; whether there was anything."""
        with self._collecting, contextlib.suppress(BlockingIOError):
            if chunk := os.read(self._source, READ_BYTES):
                self.waiting.put(chunk)
                return True
        return False

    def _pass_on(self) -> None:
        while self.waiting.write_next(self._write):
            self._is_ending.wait(BATCH_S)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._target, rest) :]
            except BlockingIOError:  # another owner of the same terminal or pipe wants it so
                select.select([], [self._target], [])
