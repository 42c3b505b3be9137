"""One idempotency key and the answer to it."""

from dataclasses import dataclass

from services.gateway.idempotency.recording import Recording
from services.gateway.idempotency.tape import Tape


@dataclass(slots=True, eq=False)
class Held:
    """What a gateway knows of a key while it knows it."""

    name: str
    digest: str
    run: str
    """Names this attempt to answer, among all gateways."""
    tape: Tape
    tenant: str = ""
    """Who asked, and so on which row of the shelf it stands."""
    recording: Recording | None = None
    """What writes the tape, where this gateway does."""
    expires_ms: float = 0.0
    """When a finished answer is forgotten."""
    kept_bytes: int = 0
    """What it took of memory when it was finished."""
    unread_since_ms: float | None = None
    """Since when nobody reads, while it is running."""
    is_shared: bool = False
    """Whether it is in the journal under this run, for other gateways to read."""
    is_watched: bool = False
    """Whether another gateway reads it there."""
    published_bytes: int = 0
    published_entries: int = 0
    is_head_published: bool = False
