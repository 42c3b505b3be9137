"""Another way to use the same workers."""

from collections.abc import Iterator
from dataclasses import dataclass

THRESHOLDS = (64, 256, 1_024)


@dataclass(frozen=True, slots=True)
class Alternative:
    """A ratio and a threshold."""

    prefill: int
    decode: int
    threshold: int

    @property
    def label(self) -> str:
        """As in `1P3D, threshold 64`."""
        if not self.prefill:
            return f"{self.decode} aggregated"
        return f"{self.prefill}P{self.decode}D, threshold {self.threshold}"


def alternatives(current: Alternative) -> Iterator[Alternative]:
    """The current one first, then every ratio of as many workers, then its own ratio's other thresholds."""
    yield current
    workers = current.prefill + current.decode
    for prefill in range(workers):
        other = Alternative(prefill, workers - prefill, current.threshold)
        if other != current:
            yield other
    if current.prefill:
        for threshold in THRESHOLDS:
            if threshold != current.threshold:
                yield Alternative(current.prefill, current.decode, threshold)
