"""The wait queue of one pool and tier."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.router.core.flight import Flight


class WaitQueue:
    """First come, first served; those that come back after a failure go first, oldest of them first.

    Bounded by requests and tokens; `has_room_for` is asked before `append`.
    """

    def __init__(self, requests_max: int, tokens_max: int) -> None:
        self._requests_max, self._tokens_max = requests_max, tokens_max
        self._returned: dict[Flight, int] = {}
        self._arrived: dict[Flight, int] = {}
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._returned) + len(self._arrived)

    def __iter__(self) -> "Iterator[Flight]":
        yield from self._returned
        yield from self._arrived

    def has_room_for(self, text_tokens: int) -> bool:
        """Whether one more request of this length stays within the bounds."""
        return len(self) < self._requests_max and self.tokens + text_tokens <= self._tokens_max

    def append(self, flight: "Flight") -> None:
        """Add an admitted request."""
        self._add(self._arrived, flight)

    def put_back(self, flight: "Flight") -> None:
        """Add a request whose worker failed; it was admitted once, so the bounds do not apply."""
        self._add(self._returned, flight)

    def _add(self, line: "dict[Flight, int]", flight: "Flight") -> None:
        line[flight] = flight.text_tokens
        self.tokens += line[flight]

    def head(self) -> "Flight | None":
        """Who is next."""
        return next(iter(self), None)

    def remove(self, flight: "Flight") -> bool:
        """Take a flight out; False when it was not here."""
        for line in (self._returned, self._arrived):
            if flight in line:
                self.tokens -= line.pop(flight)
                return True
        return False
