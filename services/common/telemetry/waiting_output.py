"""Output on its way to a reader who may not read: bounded, and what is dropped is counted."""

import threading
from collections import deque
from collections.abc import Callable

WRITE_BYTES_MAX = 64 * 1024
"""One write; what a reader has not taken of it counts no more as waiting."""


class WaitingOutput:
    """Bytes between the thread that takes them and the one that writes them.

    Past the bound the oldest lines are dropped, since the newest tell most; in their place comes a notice.
    """

    def __init__(self, size_bytes_max: int, notice: Callable[[int], str]) -> None:
        """`notice` makes the line that says how many lines were dropped."""
        self._size_bytes_max, self._notice = size_bytes_max, notice
        self._chunks: deque[bytes] = deque()
        self._size_bytes = 0
        self._unreported_lines = 0
        self._is_in_dropped_line = False
        """Whether what comes next is the rest of a line that was dropped."""
        self._ends_line = True
        """Whether what was written last ended a line."""
        self._is_writing = False
        self._is_closed = False
        self._changed = threading.Condition()
        self.lines_dropped = 0
        """All lines so far."""

    def put(self, chunk: bytes) -> None:
        """Take a piece of output; never waits for the reader."""
        with self._changed:
            if chunk := self._without_dropped_begin(chunk):
                self._chunks.append(chunk)
                self._size_bytes += len(chunk)
            while self._size_bytes > self._size_bytes_max:
                self._drop_oldest()
            self._changed.notify_all()

    def write_next(self, write: Callable[[bytes], None]) -> bool:
        """Wait for output and write it; False when there will be no more.

        What `write` cannot write, by an OSError, counts as dropped and is tried no more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._is_closed)
            if not self._chunks:
                return False
            notice, reported = self._due_notice(), self._unreported_lines
            data, self._is_writing = self._oldest(), True
        is_written = _succeeds(write, notice + data)
        with self._changed:
            self._is_writing = False
            self._unreported_lines -= reported * is_written
            self._ends_line = data.endswith(b"\n") if is_written else self._ends_line
            self._count(0 if is_written else _lines(data))
            self._changed.notify_all()
        return True

    def close(self, patience_s: float) -> None:
        """Say that no more will come, and wait so long for all to be written."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._chunks and not self._is_writing, patience_s)

    def _without_dropped_begin(self, chunk: bytes) -> bytes:
        if self._is_in_dropped_line:
            _, end, chunk = chunk.partition(b"\n")
            self._is_in_dropped_line = not end
        return chunk

    def _drop_oldest(self) -> None:
        """One chunk, and the rest of its last line."""
        chunk = self._chunks.popleft()
        self._size_bytes -= len(chunk)
        self._count(_lines(chunk))
        self._is_in_dropped_line = not chunk.endswith(b"\n")
        while self._is_in_dropped_line and self._chunks:
            cut = self._chunks.popleft()
            self._size_bytes -= len(cut)
            if rest := self._without_dropped_begin(cut):
                self._chunks.appendleft(rest)
                self._size_bytes += len(rest)

    def _oldest(self) -> bytes:
        """At most `WRITE_BYTES_MAX` of what waits, unless one chunk is longer."""
        taken = [self._chunks.popleft()]
        size_bytes = len(taken[0])
        while self._chunks and size_bytes + len(self._chunks[0]) <= WRITE_BYTES_MAX:
            taken.append(self._chunks.popleft())
            size_bytes += len(taken[-1])
        self._size_bytes -= size_bytes
        return b"".join(taken)

    def _due_notice(self) -> bytes:
        if not self._unreported_lines:
            return b""
        begin = "" if self._ends_line else "\n"
        return f"{begin}{self._notice(self._unreported_lines)}\n".encode()

    def _count(self, lines: int) -> None:
        self._unreported_lines += lines
        self.lines_dropped += lines


def _lines(data: bytes) -> int:
    """Lines of a text, one that has no end included."""
    return data.count(b"\n") + (not data.endswith(b"\n"))


def _succeeds(write: Callable[[bytes], None], data: bytes) -> bool:
    try:
        write(data)
    except OSError:
        return False
    return True
