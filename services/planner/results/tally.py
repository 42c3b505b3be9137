"""What callers have seen: times, ends, tokens, and how many kept the SLO."""

from collections import Counter
from dataclasses import dataclass, field

from services.planner.results.histogram import Histogram
from services.planner.results.series import Series
from services.planner.slo import Slo

REFUSED = "refused"


@dataclass(slots=True)
class Call:
    """One request under way, as its caller sees it."""

    began_ms: float
    prompt_tokens: int
    answer_tokens: int
    first_ms: float | None = None


@dataclass(slots=True)
class Tally:
    """Running totals over the requests that began after the warm-up."""

    slo: Slo | None = None
    from_ms: float = 0.0
    """Requests that began before are not counted."""
    ttft_ms: Histogram = field(default_factory=Histogram)
    tpot_ms: Histogram = field(default_factory=Histogram)
    e2e_ms: Histogram = field(default_factory=Histogram)
    asked: int = 0
    answered: int = 0
    met: int = 0
    """Answered within every bound of the SLO."""
    prompt_tokens: int = 0
    answer_tokens: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    """By the reason that the router gives."""
    series: Series = field(default_factory=Series)

    def begun(self, call: Call) -> None:
        """A request was made."""
        if call.began_ms >= self.from_ms:
            self.asked += 1

    def ended(self, call: Call, now_ms: float, refusal: str = "") -> None:
        """A request has its end."""
        if call.began_ms < self.from_ms:
            return
        if refusal or call.first_ms is None:
            self.refusals[refusal or "no_token"] += 1
            self.series.of(call.began_ms).refused += 1
            return
        ttft_ms, e2e_ms = call.first_ms - call.began_ms, now_ms - call.began_ms
        tpot_ms = (now_ms - call.first_ms) / max(1, call.answer_tokens - 1)
        self.answered += 1
        self.prompt_tokens += call.prompt_tokens
        self.answer_tokens += call.answer_tokens
        self.ttft_ms.add(ttft_ms)
        self.e2e_ms.add(e2e_ms)
        if call.answer_tokens > 1:
            self.tpot_ms.add(tpot_ms)
        self.met += self.slo is None or self.slo.is_met_by(ttft_ms, tpot_ms, e2e_ms)
        self.series.of(call.began_ms).answered(ttft_ms, tpot_ms, e2e_ms)

    @property
    def attainment(self) -> float:
        """Share of the requests that ended which kept every bound; refused ones did not."""
        ended = self.answered + self.refusals.total()
        return self.met / ended if ended else 0.0

    @property
    def served(self) -> float:
        """Share of the requests that ended which were answered."""
        ended = self.answered + self.refusals.total()
        return self.answered / ended if ended else 0.0

    def time(self, name: str) -> Histogram:
        """The histogram of `ttft`, `tpot` or `e2e`."""
        return {"ttft": self.ttft_ms, "tpot": self.tpot_ms, "e2e": self.e2e_ms}[name]
