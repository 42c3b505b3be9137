"""Answers that several gateways share while they are being written, as gateways see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

WRITER_TTL_MS = 3_000
"""A writer that has not been heard of for this long is dead, and its run is anybody's."""
ENTRIES_MAX = 50_000
"""Entries of one answer's stream; its writer stops before."""


class Progress(StrEnum):
    """How far a run is."""

    RUNNING = "running"
    WHOLE = "whole"
    SPENT = "spent"
    """Ended, and not to be given again: its name is free."""
    BROKEN = "broken"
    """Given up: its name is free."""
    LARGE = "large"
    """Too large to be kept."""


@dataclass(frozen=True, slots=True)
class Run:
    """Who has a name at the moment."""

    digest: str
    """Of what was asked."""
    run: str
    progress: Progress
    beat: int
    """Counts its writer's signs of life."""


@dataclass(frozen=True, slots=True)
class Addition:
    """What a writer has to say of its run; with nothing new it is a sign of life."""

    name: str
    run: str
    head: bytes
    body: bytes
    progress: Progress
    offset_bytes: int = 0
    """Where the body part belongs. Elsewhere than at the present end nothing is added, so that an addition
    whose outcome is unknown may be sent again.
    """


@dataclass(frozen=True, slots=True)
class Standing:
    """What a writer learns in return."""

    is_mine: bool
    is_others: bool
    """Another run has taken the name over."""
    is_watched: bool
    """Somebody reads along elsewhere."""
    size_bytes: int
    """Of the body that is there, whoever added it."""


@dataclass(frozen=True, slots=True)
class Page:
    """The next part of a run."""

    position: str
    """Where the next page begins."""
    head: bytes
    body: bytes
    progress: Progress
    is_last: bool
    """Whether there was nothing more to read at the moment."""


class Journal(Protocol):
    """Runs by name. Every method raises `StoreUnavailable` when the store does not answer in time."""

    async def claim(self, name: str, digest: str, run: str) -> Run | None:
        """Take a name for a run; the run that has it already, if there is one."""

    async def look(self, name: str) -> Run | None:
        """Who has a name, saying by the way that somebody here wants to read along."""

    async def publish(self, additions: Sequence[Addition]) -> list[Standing]:
        """Add to several runs in one round trip; nothing is added to a run that has lost its name."""

    async def read(self, name: str, run: str, position: str) -> Page:
        """What follows a position of a run; "" is its begin."""

    async def forget(self, name: str, run: str) -> None:
        """Drop what is kept of a run, if it still has its name."""

    async def close(self) -> None:
        """Let go of connections; idempotent."""
