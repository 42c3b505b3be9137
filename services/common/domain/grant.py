"""How several routers share one worker: it grants each a part of its capacity."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grant:
    """What one router may place on a worker at once, until the next grant."""

    number: int
    """Rises within a session."""
    running_requests: int
    kv_blocks: int


@dataclass(frozen=True, slots=True)
class Want:
    """What one router has placed on a worker, and what it would place besides."""

    grant_number: int
    """The grant that it goes by."""
    running_requests: int = 0
    kv_blocks: int = 0
    waiting_requests: int = 0
    waiting_kv_blocks: int = 0
