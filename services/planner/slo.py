"""Service level objectives: bounds on quantiles of times, and the share of requests that is served."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from services.common.errors import BadSetting
from services.planner.hardware.unknown_name import unknown_name

TIMES = ("ttft", "tpot", "e2e")
"""To the first token; per further token; to the last."""
UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}
_BOUND = re.compile(r"^(?P<time>[a-z0-9]+)_p(?P<quantile>\d+(?:\.\d+)?)$")
_TIME = re.compile(r"^(?P<number>\d+(?:\.\d+)?)(?P<unit>[a-zµ]*)$")
SERVED_DEFAULT = 0.999


def milliseconds(text: str, flag: str) -> float:
    """A time with its unit, as in `600ms` or `4s`; raises `BadSetting` without one."""
    found = _TIME.match(text.strip().lower())
    if found is None:
        raise BadSetting(f"{flag}: {text!r} is no time: write 600ms or 4s")
    number, unit = float(found["number"]), found["unit"]
    if not unit:
        raise BadSetting(f"{flag}: {text!r} has no unit: write {text}ms or {text}s")
    if unit not in UNITS_MS:
        raise unknown_name(flag, "unit", unit, UNITS_MS)
    return number * UNITS_MS[unit]


@dataclass(frozen=True, slots=True)
class Bound:
    """One quantile of one time stays below so many milliseconds."""

    time: str
    quantile: float
    bound_ms: float

    @property
    def label(self) -> str:
        """As in `ttft_p95`."""
        return f"{self.time}_p{self.quantile * 100:g}"

    def __str__(self) -> str:
        return f"{self.label}={shown_ms(self.bound_ms)}"


@dataclass(frozen=True, slots=True)
class Slo:
    """All bounds, and the share of requests that must be answered in full."""

    bounds: tuple[Bound, ...]
    served: float = SERVED_DEFAULT

    @classmethod
    def parse(cls, text: str, flag: str = "--slo") -> "Slo":
        """From `ttft_p95=600ms,tpot_p95=40ms,served=99.9%`; raises `BadSetting` in one line."""
        bounds: list[Bound] = []
        served = SERVED_DEFAULT
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, separator, value = part.partition("=")
            if not separator:
                raise BadSetting(f"{flag}: {part!r} sets no bound: write ttft_p95=600ms")
            if name == "served":
                served = _share(value, flag)
            else:
                bounds.append(_bound(name, value, flag))
        if not bounds:
            raise BadSetting(f"{flag}: no bound: write ttft_p95=600ms,tpot_p95=40ms")
        if len({bound.label for bound in bounds}) < len(bounds):
            raise BadSetting(f"{flag}: one bound is given twice")
        return cls(tuple(bounds), served)

    def bound_ms(self, time: str) -> float | None:
        """The tightest bound on one time, whatever its quantile; None without one."""
        return min((bound.bound_ms for bound in self.bounds if bound.time == time), default=None)

    def is_met_by(self, ttft_ms: float, tpot_ms: float, e2e_ms: float) -> bool:
        """Whether one request keeps every bound: what goodput counts."""
        times = {"ttft": ttft_ms, "tpot": tpot_ms, "e2e": e2e_ms}
        return all(times[bound.time] <= bound.bound_ms for bound in self.bounds)

    def contradiction(self, output_tokens: int) -> str:
        """Which bound makes another meaningless for answers of that length; empty for none.

        A request that just keeps TTFT and TPOT takes ttft + (n - 1) x tpot to its end.
        """
        ttft_ms, tpot_ms, e2e_ms = (self.bound_ms(time) for time in TIMES)
        if e2e_ms is None or tpot_ms is None or output_tokens < 2:
            return ""
        steps = output_tokens - 1
        sum_ms = (ttft_ms or 0.0) + steps * tpot_ms
        if sum_ms <= e2e_ms:
            return ""
        binding_ms = (e2e_ms - (ttft_ms or 0.0)) / steps
        allowed = f"{shown_ms(ttft_ms)} + " if ttft_ms else ""
        if binding_ms <= 0:
            return (
                f"the SLO contradicts itself: the first token may take {shown_ms(ttft_ms or 0.0)}, all of "
                f"the answer only {shown_ms(e2e_ms)}"
            )
        return (
            f"{allowed}{steps} x {shown_ms(tpot_ms)} = {shown_ms(sum_ms)}, not {shown_ms(e2e_ms)}: the bound "
            f"end to end is the one that binds; it needs {binding_ms:.1f} ms per token"
        )

    def __str__(self) -> str:
        return ",".join([*map(str, self.bounds), f"served={self.served:.4g}"])


def shown_ms(time_ms: float) -> str:
    """For people and for flags: 600ms, 8.56s."""
    if time_ms >= 1_000:
        return f"{time_ms / 1e3:.4g}s"
    return f"{time_ms:.4g}ms"


def times_met(slo: Slo, quantiles: Iterable[tuple[Bound, float]]) -> bool:
    """Whether every bound's quantile is below it."""
    return all(value <= bound.bound_ms for bound, value in quantiles) and bool(slo.bounds)


def _bound(name: str, value: str, flag: str) -> Bound:
    found = _BOUND.match(name)
    if found is None or found["time"] not in TIMES:
        known = [f"{time}_p{quantile}" for time in TIMES for quantile in (50, 95, 99)]
        raise unknown_name(flag, "bound", name, [*known, "served"])
    quantile = float(found["quantile"]) / 100
    if not 0 < quantile < 1:
        raise BadSetting(f"{flag}: {name}: a percentile lies between 0 and 100")
    bound_ms = milliseconds(value, f"{flag}: {name}")
    if bound_ms <= 0:
        raise BadSetting(f"{flag}: {name} must be more than nothing")
    return Bound(found["time"], quantile, bound_ms)


def _share(value: str, flag: str) -> float:
    try:
        share = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        raise BadSetting(f"{flag}: served={value!r} is no share: write served=99.9%") from None
    if not 0 < share <= 1:
        raise BadSetting(f"{flag}: served={value}: a share lies between 0 and 100 %")
    return share
