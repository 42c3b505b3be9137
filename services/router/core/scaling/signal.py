"""What the scaler sees of one tier at one moment."""

from dataclasses import dataclass, field

from services.router.core.scaling.demand import TierDemand


@dataclass(frozen=True, slots=True)
class TierSignal:
    """Workers, queue, work under way, and the running totals."""

    serving: int = 0
    """Workers that take work."""
    at_hand: int = 0
    """Loaded workers that could serve at once: spares, and those being taken away."""
    attached: int = 0
    """All workers of the tier but those that drain."""
    queued_requests: int = 0
    queued_tokens: int = 0
    running_requests: int = 0
    """Decode seats taken, or texts at prefill workers."""
    running_tokens: int = 0
    """Tokens at prefill workers."""
    busy: int = 0
    """Workers with work."""
    busy_workers: tuple[str, ...] = ()
    """Names of those with prompt tokens of this router's."""
    slots: int = 0
    """Requests that the serving workers run at once at most."""
    blocks: int = 0
    """Their KV blocks."""
    steps: tuple[tuple[int, float], ...] = field(default=())
    """Running requests and mean step in milliseconds, of each busy worker."""
    totals: TierDemand = field(default_factory=TierDemand)
