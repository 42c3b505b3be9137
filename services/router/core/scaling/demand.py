"""What each pool is asked for and gives, as running totals: the scaler reads their differences."""

from dataclasses import dataclass, field, fields


@dataclass(slots=True)
class TierDemand:
    """Totals of one tier."""

    arrived_requests: int = 0
    """Refused ones included, where more workers would have taken them."""
    arrived_tokens: int = 0
    arrived_tokens_squared: int = 0
    """Sum of squares, for the spread."""
    taken_tokens: int = 0
    """Tokens of texts given to prefill workers."""
    seated_requests: int = 0
    seated_blocks: int = 0
    """KV blocks reserved for those that got a decode seat."""
    ended_requests: int = 0
    held_ms: float = 0.0
    """Time for which the ended requests held their decode seats."""

    def arrive(self, text_tokens: int) -> None:
        """A request wants this tier."""
        self.arrived_requests += 1
        self.arrived_tokens += text_tokens
        self.arrived_tokens_squared += text_tokens * text_tokens

    def plus(self, other: "TierDemand") -> "TierDemand":
        """Both together."""
        return TierDemand(*(getattr(self, name) + getattr(other, name) for name in _TOTALS))

    def minus(self, other: "TierDemand") -> "TierDemand":
        """What has come since."""
        return TierDemand(*(getattr(self, name) - getattr(other, name) for name in _TOTALS))


_TOTALS = tuple(each.name for each in fields(TierDemand))


@dataclass(slots=True)
class Demand:
    """Totals of one pool. Every request wants a decode worker, those of the disaggregated path a prefill
    worker first.
    """

    prefill: TierDemand = field(default_factory=TierDemand)
    decode: TierDemand = field(default_factory=TierDemand)
    moved_ms: float = float("-inf")
    """When a request last came that another router had had."""

    def arrive(self, text_tokens: int, *, needs_prefill: bool) -> None:
        """A request has come."""
        self.decode.arrive(text_tokens)
        if needs_prefill:
            self.prefill.arrive(text_tokens)

    def prefilling(self, text_tokens: int) -> None:
        """A prefill worker runs a text."""
        self.prefill.taken_tokens += text_tokens

    def seated(self, blocks: int) -> None:
        """A request has got a decode seat."""
        self.decode.seated_requests += 1
        self.decode.seated_blocks += blocks

    def ended(self, held_ms: float) -> None:
        """A request has left its decode seat for good."""
        self.decode.ended_requests += 1
        self.decode.held_ms += held_ms
