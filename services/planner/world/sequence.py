"""One job inside a virtual engine."""

from dataclasses import dataclass, field
from enum import Enum

from services.common.domain import Job
from services.planner.world.kv_cache import Holding


class Phase(Enum):
    """Where a sequence is in its life."""

    WAITING = "waiting"
    PULLING = "pulling"
    JOINING = "joining"
    """Its KV is there; it decodes from the next step on."""
    PREFILLING = "prefilling"
    PREFILLED = "prefilled"
    """Its prompt has run; what becomes of it is being decided."""
    DECODING = "decoding"
    ENDED = "ended"


@dataclass(slots=True, eq=False)
class Sequence:
    """A job's progress, in counts."""

    job: Job
    length: int
    """Tokens of prompt and answer that exist. While it decodes: when it began to."""
    end_length: int
    """Its length when it ends."""
    pieces: tuple[int, ...] = ()
    """Names of the prefix that its prompt begins with."""
    must_pull: bool = False
    """Whether its KV comes from elsewhere."""
    phase: Phase = Phase.WAITING
    holding: Holding = field(default_factory=Holding)
    computed: int = 0
    """Tokens whose KV is there, while prefilling."""
    cached_tokens: int = 0
    joined_step: int = 0
    """The engine's count of decode steps when it began to decode."""
    told_tokens: int = 0
    """Tokens of its answer that were reported."""
    generated: int = 0
    """Tokens of its answer by the time it last left the batch."""

    @property
    def uncomputed_tokens(self) -> int:
        """Tokens still to be prefilled."""
        return self.length - self.computed
