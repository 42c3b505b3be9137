"""The bytes of one answer: one side appends, readers follow at their own pace."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from services.common.errors import MeshError
from services.gateway.http.message import Header


@dataclass(frozen=True, slots=True)
class Head:
    """How an answer begins: what belongs to it, and not to the connection or to one request for it."""

    status: int
    content_type: str
    headers: tuple[Header, ...]
    is_stream: bool
    """Whether its parts go out as they come."""


class State(Enum):
    """How far an answer is."""

    RUNNING = auto()
    WHOLE = auto()
    """All there, and worth being given again."""
    SPENT = auto()
    """All there, and not to be given again: a refusal or an error."""
    BROKEN = auto()
    """The rest will never come."""


class Follower(Protocol):
    """Goes along with a tape."""

    position: int
    """Bytes of the body that it has taken."""

    def advance(self) -> None:
        """Take what is new; must not raise."""


class Tape:
    """Everything an answer consists of, in memory, kept from its first byte up to `bytes_max`.

    Past that it is no longer kept: what all readers have taken is forgotten, and nobody can join.
    """

    def __init__(self, bytes_max: int) -> None:
        self.head: Head | None = None
        self.state = State.RUNNING
        self.error: MeshError | None = None
        """Why it is broken."""
        self.is_kept = True
        self.size_bytes = 0
        """Of the body so far, forgotten bytes included."""
        self.readers: list[Follower] = []
        self.run = ""
        """The run that writes it, once that is known."""
        self.notes: dict[str, object] = {}
        """What its writer has to say for the log line of the request that began it."""
        self.is_copy = False
        """Whether another gateway writes the answer, and this is read from it."""
        self.on_change: Callable[[], None] = lambda: None
        """Called after whatever is added, and after the end."""
        self._bytes_max = bytes_max
        self._body = bytearray()
        self._forgotten_bytes = 0

    @property
    def is_running(self) -> bool:
        """Whether more may come."""
        return self.state is State.RUNNING

    @property
    def held_bytes(self) -> int:
        """What it takes of memory."""
        return len(self._body)

    def copy(self, run: str) -> None:
        """What follows is a copy of a run; readers may have come for another."""
        self.run = run
        self.is_copy = True
        self._tell()

    def begin(self, head: Head) -> None:
        """Take the head; readers learn of it with the first bytes."""
        self.head = head

    def append(self, data: bytes) -> None:
        """Take a part of the body."""
        self._body += data
        self.size_bytes += len(data)
        if self.size_bytes > self._bytes_max:
            self.is_kept = False
        self._tell()
        if not self.is_kept:
            self._forget()

    def end(self, data: bytes, state: State) -> None:
        """Take the last part of the body, and how it ended."""
        self._body += data
        self.size_bytes += len(data)
        if self.size_bytes > self._bytes_max:
            self.is_kept = False
        self.state = state
        self._tell()

    def fail(self, error: MeshError) -> None:
        """The rest will never come."""
        if self.is_running:
            self.state = State.BROKEN
            self.error = error
            self._tell()

    def discard(self) -> None:
        """Keep no more than the readers still need."""
        self.is_kept = False
        self._forget()

    def read(self, position: int, bytes_max: int | None = None) -> bytes:
        """The body from a position on."""
        start = position - self._forgotten_bytes
        return bytes(self._body[start:] if bytes_max is None else self._body[start : start + bytes_max])

    def find(self, data: bytes, position: int = 0) -> int:
        """Where some bytes are in the body, at or after a position; -1 where they are not."""
        found = self._body.find(data, position - self._forgotten_bytes)
        return found if found < 0 else found + self._forgotten_bytes

    def join(self, reader: Follower) -> None:
        """Have a reader follow."""
        self.readers.append(reader)

    def leave(self, reader: Follower) -> None:
        """Let a reader go."""
        if reader in self.readers:
            self.readers.remove(reader)
        if not self.is_kept:
            self._forget()

    def _tell(self) -> None:
        for reader in tuple(self.readers):
            reader.advance()
        self.on_change()

    def _forget(self) -> None:
        """Of an answer that is not kept, drop what every reader has."""
        taken = min((reader.position for reader in self.readers), default=self.size_bytes)
        del self._body[: taken - self._forgotten_bytes]
        self._forgotten_bytes = max(self._forgotten_bytes, taken)
