"""What happened when: a bounded number of equally long bins, which grow longer as time goes on."""

from dataclasses import dataclass, field

from services.planner.results.histogram import Histogram

BINS_MAX = 600
BIN_MS = 1_000.0


@dataclass(slots=True)
class Bin:
    """Requests that began within one time span, and the fleet as it was then."""

    ttft_ms: Histogram = field(default_factory=Histogram)
    tpot_ms: Histogram = field(default_factory=Histogram)
    e2e_ms: Histogram = field(default_factory=Histogram)
    refused: int = 0
    fleet: dict[str, float] = field(default_factory=dict)
    """Gauges by name, as last seen within the bin."""

    def answered(self, ttft_ms: float, tpot_ms: float, e2e_ms: float) -> None:
        """A request has its answer."""
        self.ttft_ms.add(ttft_ms)
        self.tpot_ms.add(tpot_ms)
        self.e2e_ms.add(e2e_ms)

    def merge(self, later: "Bin") -> None:
        """Take the next bin in."""
        for mine, other in (
            (self.ttft_ms, later.ttft_ms),
            (self.tpot_ms, later.tpot_ms),
            (self.e2e_ms, later.e2e_ms),
        ):
            mine.merge(other)
        self.refused += later.refused
        self.fleet.update(later.fleet)


class Series:
    """Bins by time. Past `BINS_MAX` each two become one."""

    def __init__(self) -> None:
        self.bin_ms = BIN_MS
        self.bins: dict[int, Bin] = {}

    def of(self, at_ms: float) -> Bin:
        """The bin of that time."""
        number = int(at_ms // self.bin_ms)
        while number >= BINS_MAX:
            self._halve()
            number = int(at_ms // self.bin_ms)
        found = self.bins.get(number)
        if found is None:
            found = self.bins[number] = Bin()
        return found

    def rows(self) -> list[tuple[float, Bin]]:
        """Seconds from the beginning, and the bin, in order."""
        return [(number * self.bin_ms / 1e3, self.bins[number]) for number in sorted(self.bins)]

    def _halve(self) -> None:
        self.bin_ms *= 2
        merged: dict[int, Bin] = {}
        for number in sorted(self.bins):
            if number // 2 in merged:
                merged[number // 2].merge(self.bins[number])
            else:
                merged[number // 2] = self.bins[number]
        self.bins = merged
