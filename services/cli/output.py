"""What `pdmesh up` writes: its own lines, its processes' lines, and one live line on a terminal."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from services.common.clock import Clock
from services.common.errors import BadSetting
from services.common.files import private_opener

log = logging.getLogger("pdmesh.up")

SILENCE_S = 10.0
"""Where there is no live line, a loading mesh says at least this often that it still loads."""


class Output:
    """Writes to standard output; processes' lines go to one file each when `log_dir` is given."""

    def __init__(self, clock: Clock, log_dir: Path | None = None, stream: TextIO | None = None) -> None:
        """Standard output is the one at this moment, where no other stream is given."""
        stream = stream or sys.stdout
        self._clock = clock
        self._started_ms = clock.now_ms()
        self._log_dir = log_dir
        self._stream = stream
        self._is_live = stream.isatty()
        self._width = 0
        self._states: dict[str, str] = {}
        self._files: dict[str, TextIO] = {}
        self._live_shown = False
        self._said_s = 0.0
        self._has_lost_lines = False

    def open_logs(self, names: list[str]) -> None:
        """Open these processes' log files; raises `BadSetting` when the directory does not allow it."""
        self._width = max(self._width, *map(len, names), 0)
        if self._log_dir is None:
            return
        try:
            self._log_dir.mkdir(parents=True, exist_ok=True)
            for name in names:
                self._files[name] = _private_log(self._log_dir / f"{name}.log")
        except OSError as error:
            raise BadSetting(f"--log-dir: {error.filename}: {error.strerror}") from None

    def say(self, text: str) -> None:
        """One line about the mesh itself."""
        self._erase_live()
        self._print(text)
        if self._is_live:
            self.refresh()

    def child_line(self, name: str, text: str) -> None:
        """One line that a process wrote."""
        file = self._files.get(name)
        if file is not None:
            with self._bearing():
                file.write(text + "\n")
        else:
            self.say(f"{name:<{self._width}} | {text}")

    def state(self, name: str, state: str) -> None:
        """What a process is doing; shown live on a terminal, as a line elsewhere."""
        self._states[name] = state
        if self._is_live:
            self.refresh()
        else:
            self.say(f"[{self._elapsed_s():6.1f} s] {name}: {state}")

    def forget(self, name: str) -> None:
        """A process has ended for good."""
        self._states.pop(name, None)
        if (file := self._files.pop(name, None)) is not None:
            with self._bearing():
                file.close()

    def refresh(self) -> None:
        """While something is not ready: draw the live line again, or say so every `SILENCE_S` elsewhere."""
        waiting = [f"{name} {state}" for name, state in self._states.items() if state != "ready"]
        if not waiting:
            return
        text = f"[{self._elapsed_s():6.1f} s] {', '.join(waiting)}"
        if self._is_live:
            self._erase_live()
            with self._bearing():
                print(text, end="", file=self._stream, flush=True)
            self._live_shown = True
        elif self._elapsed_s() - self._said_s >= SILENCE_S:
            self._print(text)

    def close(self) -> None:
        """Close the log files."""
        self._erase_live()
        for file in self._files.values():
            with self._bearing():
                file.close()

    def _print(self, text: str) -> None:
        with self._bearing():
            print(text, file=self._stream, flush=True)
        self._said_s = self._elapsed_s()

    @contextmanager
    def _bearing(self) -> Iterator[None]:
        """A mesh goes on though its words are lost: to a full disk, a reader that has left, an old locale."""
        try:
            yield
        except (OSError, ValueError) as error:
            if not self._has_lost_lines:
                self._has_lost_lines = True
                log.error("lines of output are lost: %s", error)

    def _elapsed_s(self) -> float:
        return (self._clock.now_ms() - self._started_ms) / 1000.0

    def _erase_live(self) -> None:
        if self._live_shown:
            with self._bearing():
                print("\r\x1b[K", end="", file=self._stream)
            self._live_shown = False


def _private_log(path: Path) -> TextIO:
    """For this user alone, since engines may log what callers send."""
    return open(path, "a", buffering=1, encoding="utf-8", errors="replace", opener=private_opener)
