"""What an engine has done: time in steps, sequences, blocks, gaps between tokens."""

from dataclasses import dataclass, field

from services.planner.results.histogram import Histogram

STEP_MEAN_WEIGHT = 0.1
"""Share of the newest step in the reported mean."""


@dataclass(slots=True)
class EngineMeter:
    """Running totals."""

    busy_ms: float = 0.0
    sequence_ms: float = 0.0
    """Milliseconds of steps, times the sequences that decoded in them."""
    block_ms: float = 0.0
    """Milliseconds of steps, times the KV blocks held in them."""
    step_ms_mean: float = 0.0
    preemptions: int = 0
    gaps_ms: Histogram = field(default_factory=Histogram)
    """Between one token and the next, of every decoding sequence."""

    def steps(self, number: int, step_ms: float, decoding: int, blocks: int) -> None:
        """Equal steps were taken."""
        took_ms = number * step_ms
        self.busy_ms += took_ms
        self.sequence_ms += took_ms * decoding
        self.block_ms += took_ms * blocks
        self.step_ms_mean += STEP_MEAN_WEIGHT * (step_ms - self.step_ms_mean)
        if decoding:
            self.gaps_ms.add(step_ms, number * decoding)
