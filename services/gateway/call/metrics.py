"""What is measured of answers: times, tokens, and whether the objectives were kept."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from services.common.domain import ServiceClass
from services.common.telemetry.tallies import Counter, Histogram, Spread, Total

FROM_REQUEST_S = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0),
    *(10.0, 15.0, 20.0, 30.0, 60.0, 120.0),
)
"""With bounds at the usual objectives: 600 ms to the first token, 4 s to the last."""
PER_TOKEN_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.075),
    *(0.1, 0.2, 0.5, 1.0),
)
"""With a bound at the usual objective of 40 ms."""
LABELS = ("model", "path", "class")
TIMED_EVERY = 16
"""One choice in so many has the gaps between its tokens measured: a look at the clock for each token of each
choice would cost more than the token does."""
_CLASSES = {kind: kind.name.lower() for kind in ServiceClass}


@dataclass(frozen=True, slots=True)
class Objectives:
    """What an answer must keep to count as good; 0 is no objective."""

    ttft_ms: float = 0.0
    tpot_ms: float = 0.0
    e2e_ms: float = 0.0

    def are_met(self, ttft_ms: float, tpot_ms: float, e2e_ms: float) -> bool:
        """Whether an answer that took so long kept all of them."""
        took = ((self.ttft_ms, ttft_ms), (self.tpot_ms, tpot_ms), (self.e2e_ms, e2e_ms))
        return all(not most or each <= most for most, each in took)


NO_OBJECTIVES = Objectives()


@dataclass(frozen=True, slots=True)
class AnswerSeries:
    """The time series of answers of one model, path and class."""

    ttft_seconds: Spread
    tpot_seconds: Spread
    e2e_seconds: Spread
    generated_tokens: Total
    good: Total
    late: Total


class AnswerMetrics:
    """Histograms and counters of answers. Models are those that are served, so the labels are bounded."""

    def __init__(self, registry: CollectorRegistry, objectives: Objectives) -> None:
        self.objectives = objectives
        self.timed_every = TIMED_EVERY
        self._series: dict[tuple[str, str, ServiceClass], AnswerSeries] = {}
        self._choices = 0
        self._ttft = Histogram(
            "pdmesh_gateway_ttft_seconds",
            "From a request's last byte to the first token",
            LABELS,
            buckets=FROM_REQUEST_S,
            registry=registry,
        )
        self._tpot = Histogram(
            "pdmesh_gateway_tpot_seconds",
            "Mean time between an answer's tokens, one observation per answer",
            LABELS,
            buckets=PER_TOKEN_S,
            registry=registry,
        )
        self._e2e = Histogram(
            "pdmesh_gateway_e2e_seconds",
            "From a request's last byte to the last token of its answer",
            LABELS,
            buckets=FROM_REQUEST_S,
            registry=registry,
        )
        self.itl_seconds = Histogram(
            "pdmesh_gateway_itl_seconds",
            "Time between two tokens of one choice, measured on one choice in 16",
            buckets=PER_TOKEN_S,
            registry=registry,
        ).labels()
        self._prompt_tokens = Counter(
            "pdmesh_gateway_prompt_tokens",
            "Prompt tokens by model, and whether a prefix cache had them (cached) or not (computed)",
            ["model", "source"],
            registry=registry,
        )
        self._generated_tokens = Counter(
            "pdmesh_gateway_generated_tokens", "Tokens received from the router", LABELS, registry=registry
        )
        self._answers = Counter(
            "pdmesh_gateway_slo_answers",
            "Whole answers by whether they met all objectives (yes, no); goodput is the rate of yes",
            [*LABELS, "met"],
            registry=registry,
        )

    def series(self, model: str, path: str, service_class: ServiceClass) -> AnswerSeries:
        """The series of a model's answers."""
        key = (model, path, service_class)
        found = self._series.get(key)
        if found is None:
            labels = (model, path, _CLASSES[service_class])
            found = self._series[key] = AnswerSeries(
                self._ttft.labels(*labels),
                self._tpot.labels(*labels),
                self._e2e.labels(*labels),
                self._generated_tokens.labels(*labels),
                self._answers.labels(*labels, "yes"),
                self._answers.labels(*labels, "no"),
            )
        return found

    def count_prompt(self, model: str, prompt_tokens: int, cached_tokens: int = 0) -> None:
        """Count a call's prompts."""
        self._prompt_tokens.labels(model, "computed").inc(prompt_tokens - cached_tokens)
        if cached_tokens:
            self._prompt_tokens.labels(model, "cached").inc(cached_tokens)

    def times_next_choice(self) -> bool:
        """Whether the gaps between the next choice's tokens are to be measured."""
        self._choices += 1
        return self._choices % self.timed_every == 0
