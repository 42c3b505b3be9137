"""The receipt: what a caller learns of its own request."""

from dataclasses import dataclass
from enum import IntEnum


class Path(IntEnum):
    """How a request got its KV cache."""

    DISAGGREGATED = 1
    LOCAL = 2


PATH_NAMES = {path: path.name.lower() for path in Path}
"""As headers, logs and metrics write them."""


@dataclass(slots=True)
class Receipt:
    """Filled in by the router's core while the request lives, sent with its end.

    `queue_ms` is all time spent waiting in the router, `prefill_ms` from dispatch to the first token,
    `handoff_ms` from the offer to the decode worker's adoption, `decode_ms` from then (or from the
    first token on the local path) to the end.
    """

    request_id: str
    path: Path | None = None
    path_reason: str = ""
    prefill_worker: str = ""
    decode_worker: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    kv_size_bytes: int = 0
    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    handoff_ms: float = 0.0
    decode_ms: float = 0.0
    retries: int = 0
    model: str = ""
    """The model that answered: the version behind the name that was asked for."""

    @property
    def handoff_gb_per_s(self) -> float:
        """KV bytes over the handoff's whole time, in GB/s; 0.0 without a handoff."""
        return self.kv_size_bytes / self.handoff_ms / 1e6 if self.handoff_ms > 0 else 0.0
