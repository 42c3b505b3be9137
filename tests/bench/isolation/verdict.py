"""The study's numbers."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.bench.isolation.load import CHAT, LONG
from tests.bench.load import quantile

TTFT_FACTOR, TPOT_FACTOR = 3.0, 2.0
"""A request is good within so many times what an idle mesh needs for a long prompt, and for a token."""
TPOT_FACTORS = (1.5, 2.0, 3.0, 5.0)
"""Other promises, to see how much the verdict hangs on the one chosen."""
NOISE = 0.05
"""Less than this much worse is no loss."""


@dataclass(frozen=True)
class Promise:
    """What a request must get to be good; milliseconds."""

    ttft_ms: float
    tpot_ms: float

    def holds(self, record: Mapping[str, Any]) -> bool:
        """Whether one request got it."""
        if not record["whole"]:
            return False
        return bool(record["ttft_ms"] <= self.ttft_ms and record["tpot_ms"] <= self.tpot_ms)


def promise(idle: Sequence[Mapping[str, Any]]) -> Promise:
    """From requests that were alone on a mesh."""
    ttft_ms = median(r["ttft_ms"] for r in idle if r["kind"] == LONG)
    tpot_ms = median(r["tpot_ms"] for r in idle if r["kind"] == CHAT)
    return Promise(ttft_ms * TTFT_FACTOR, tpot_ms * TPOT_FACTOR)


def scaled(one: Promise) -> dict[float, Promise]:
    """The same promise with each of the other factors of TPOT."""
    return {f: Promise(one.ttft_ms, one.tpot_ms / TPOT_FACTOR * f) for f in TPOT_FACTORS}


def figures(
    records: Sequence[Mapping[str, Any]], seconds: float, promised: Mapping[float, Promise]
) -> dict[str, Any]:
    """One rate at one shape: quantiles over whole answers, and good requests per second of arrivals.

    `promised` has one promise per factor of TPOT.
    """
    whole = [r for r in records if r["whole"]]
    good = {factor: sum(map(one.holds, records)) for factor, one in promised.items()}
    told: dict[str, Any] = {
        "requests": len(records),
        "failed": len(records) - len(whole),
        "errors": dict(Counter(r["error"] or "another length than asked" for r in records if not r["whole"])),
        "goodput_per_s": good[TPOT_FACTOR] / seconds,
        "attainment": good[TPOT_FACTOR] / max(1, len(records)),
        "attainment_by_tpot_factor": {str(f): n / max(1, len(records)) for f, n in good.items()},
        "disaggregated_share": share(whole, lambda r: r["path"] == "disaggregated"),
    }
    told |= quantiles("ttft_ms", [r["ttft_ms"] for r in whole])
    for kind in (LONG, CHAT):
        told |= quantiles(f"{kind}_ttft_ms", [r["ttft_ms"] for r in whole if r["kind"] == kind])
    told |= quantiles("tpot_ms", [r["tpot_ms"] for r in whole])
    return told | quantiles("gap_ms", [gap for r in whole for gap in r["gaps_ms"]])


def quantiles(name: str, values: Sequence[float]) -> dict[str, float]:
    """p50 and p99 under their names."""
    ordered = sorted(values)
    return {f"{name}_p50": quantile(ordered, 0.5), f"{name}_p99": quantile(ordered, 0.99)}


def share(records: Sequence[Mapping[str, Any]], is_counted: Any) -> float:
    """The part of the records that is counted."""
    return sum(1 for r in records if is_counted(r)) / max(1, len(records))


LOWER_IS_BETTER = (
    "ttft_ms_p50",
    "ttft_ms_p99",
    "long_ttft_ms_p50",
    "chat_ttft_ms_p50",
    "chat_ttft_ms_p99",
    "tpot_ms_p50",
    "tpot_ms_p99",
    "gap_ms_p50",
    "gap_ms_p99",
)


def losses(
    apart: Mapping[float, Mapping[str, Any]], others: Mapping[str, Mapping[float, Mapping[str, Any]]]
) -> Iterator[str]:
    """One line for each figure in which disaggregation is worse than the best of the other shapes."""
    for rate, mine in apart.items():
        worse = []
        for name in LOWER_IS_BETTER:
            best, who = min((other[rate][name], shape) for shape, other in others.items())
            if mine[name] > best * (1 + NOISE):
                worse.append(f"{name} {mine[name]:.1f} against {best:.1f} ({who})")
        best, who = max((other[rate]["goodput_per_s"], shape) for shape, other in others.items())
        if mine["goodput_per_s"] < best * (1 - NOISE):
            worse.append(f"goodput {mine['goodput_per_s']:.2f}/s against {best:.2f}/s ({who})")
        if worse:
            yield f"{rate:g} requests/s: {'; '.join(worse)}"
