"""Whose job is whose: the engine's stream numbers and each session's own."""

from collections.abc import Iterable
from typing import Generic, TypeVar

S = TypeVar("S")
"""A session; compared by identity."""

STREAMS_MAX = 2**32 - 2
"""Engine streams are unsigned 32-bit; the highest one is left to engines for their own checks."""


class JobTable(Generic[S]):
    """Jobs and offers by session. Several sessions may use the same wire stream numbers."""

    def __init__(self) -> None:
        self._seats: dict[int, tuple[S, int]] = {}
        self._engine_streams: dict[S, dict[int, int]] = {}
        self._offers: dict[str, S] = {}
        self._newest = 0

    def __len__(self) -> int:
        return len(self._seats)

    @property
    def offers(self) -> int:
        """Offers that are not released yet."""
        return len(self._offers)

    def open(self, session: S, wire_stream: int) -> int:
        """A fresh engine stream for a job."""
        self._newest = self._newest % STREAMS_MAX + 1
        while self._newest in self._seats:
            self._newest = self._newest % STREAMS_MAX + 1
        self._seats[self._newest] = (session, wire_stream)
        self._engine_streams.setdefault(session, {})[wire_stream] = self._newest
        return self._newest

    def seat(self, engine_stream: int) -> tuple[S, int] | None:
        """Session and wire stream of a job, None when it has ended."""
        return self._seats.get(engine_stream)

    def close(self, engine_stream: int) -> tuple[S, int] | None:
        """End a job; returns its session and wire stream."""
        seat = self._seats.pop(engine_stream, None)
        if seat is not None:
            session, wire_stream = seat
            del self._engine_streams[session][wire_stream]
        return seat

    def close_named(self, session: S, wire_streams: Iterable[int]) -> list[int]:
        """End a session's jobs of these wire streams; returns the engine streams of those that were open."""
        named = self._engine_streams.get(session, {})
        closed = [named[stream] for stream in set(wire_streams) if stream in named]
        for engine_stream in closed:
            self.close(engine_stream)
        return closed

    def open_streams(self, session: S) -> list[int]:
        """Wire streams of a session's open jobs."""
        return list(self._engine_streams.get(session, ()))

    def add_offer(self, session: S, handoff_id: str) -> None:
        """Note who shall hear of an offer's release."""
        self._offers[handoff_id] = session

    def owned_offers(self, session: S) -> list[str]:
        """A session's offers that are not released yet."""
        return [handoff_id for handoff_id, owner in self._offers.items() if owner is session]

    def owns_offer(self, session: S, handoff_id: str) -> bool:
        """Whether an offer was made to this session."""
        return self._offers.get(handoff_id) is session

    def close_offer(self, handoff_id: str) -> S | None:
        """An offer is released; returns the session that shall hear of it."""
        return self._offers.pop(handoff_id, None)

    def end(self, session: S) -> tuple[list[int], list[str]]:
        """Forget a session; returns its open engine streams and unreleased offers."""
        streams = self.close_named(session, self.open_streams(session))
        offers = self.owned_offers(session)
        for handoff_id in offers:
            del self._offers[handoff_id]
        self._engine_streams.pop(session, None)
        return streams, offers
