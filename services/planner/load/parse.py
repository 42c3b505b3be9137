"""A load in one line, as `--load` takes it."""

from dataclasses import dataclass
from pathlib import Path

from services.common.errors import BadSetting
from services.planner.hardware.unknown_name import unknown_name
from services.planner.load.ask import Ask
from services.planner.load.lengths import Drawn
from services.planner.load.sources import ClosedLoop, OpenLoop, Phase, Replay, Source, Together
from services.planner.load.trace import read_trace
from services.planner.slo import milliseconds

KEYS = ("rate", "burst", "concurrency", "trace", "speed", "think", "stagger")
RATE_MAX_PER_S = 1e6
CLIENTS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """A source, and what a planner must know of it."""

    source: Source
    for_ms: float
    prompt_tokens: float
    """Mean."""
    output_tokens: float
    """Mean."""
    rate_per_s: float
    """Mean of an open loop; 0 where clients wait for their answers."""
    clients: int = 0
    """Of a closed loop."""
    peak_per_s: float = 0.0
    longest_tokens: int = 0
    """Of one prompt and answer; 0 where there is no such bound."""


def parse_load(text: str, drawn: Drawn, for_ms: float, flag: str = "--load") -> Load:
    """From `rate=20`, `rate=200,burst=800@60s-90s`, `concurrency=64` (a burst of clients too), or
    `trace=FILE,speed=2`; raises `BadSetting`.
    """
    given = _split(text, flag)
    kinds = [kind for kind in ("rate", "concurrency", "trace") if kind in given]
    if len(kinds) != 1:
        raise BadSetting(f"{flag}: one of rate=20, concurrency=64 or trace=FILE, not {text!r}")
    if kinds == ["trace"]:
        return _trace(given, flag)
    if kinds == ["concurrency"]:
        return _closed(given, drawn, for_ms, flag)
    return _open(given, drawn, for_ms, flag)


def mean_lengths(drawn: Drawn) -> tuple[float, float]:
    """Mean prompt and answer of drawn lengths."""
    share = 0.9 if drawn.spread == "uniform" else 1.0
    return drawn.prompt_tokens * share, drawn.answer_tokens * share


def _longest(drawn: Drawn) -> int:
    return 0 if drawn.spread == "lognormal" else drawn.prompt_tokens + drawn.answer_tokens


def _split(text: str, flag: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, separator, value = part.partition("=")
        if key not in KEYS:
            raise unknown_name(flag, "load", key, KEYS)
        if not separator or not value:
            raise BadSetting(f"{flag}: {key} has no value: write {key}=...")
        if key in given:
            raise BadSetting(f"{flag}: {key} is given twice")
        given[key] = value
    return given


def _number(given: dict[str, str], key: str, least: float, most: float, flag: str) -> float:
    try:
        value = float(given[key])
    except ValueError:
        raise BadSetting(f"{flag}: {key}={given[key]!r} is no number") from None
    if not least <= value <= most:
        raise BadSetting(f"{flag}: {key}={given[key]} is not between {least:g} and {most:g}")
    return value


def _open(given: dict[str, str], drawn: Drawn, for_ms: float, flag: str) -> Load:
    rate = _number(given, "rate", 1e-6, RATE_MAX_PER_S, flag)
    phases: tuple[Phase, ...] = (Phase(rate, for_ms),)
    peak = rate
    if "burst" in given:
        peak, begin_ms, end_ms = _burst(given["burst"], for_ms, flag)
        spans = ((rate, begin_ms), (peak, end_ms - begin_ms), (rate, for_ms - end_ms))
        phases = tuple(Phase(each, span_ms) for each, span_ms in spans if span_ms > 0)
    mean = sum(phase.rate_per_s * phase.for_ms for phase in phases) / for_ms
    prompt, output = mean_lengths(drawn)
    source = OpenLoop(drawn, phases)
    return Load(
        source, for_ms, prompt, output, mean, peak_per_s=max(peak, rate), longest_tokens=_longest(drawn)
    )


def _burst(text: str, for_ms: float, flag: str) -> tuple[float, float, float]:
    """Its rate or clients, beginning and end."""
    rate, separator, span = text.partition("@")
    begin, dash, end = span.partition("-")
    if not separator or not dash:
        raise BadSetting(f"{flag}: burst={text!r}: write burst=800@60s-90s")
    peak = _number({"burst": rate}, "burst", 1e-6, RATE_MAX_PER_S, flag)
    begin_ms, end_ms = (milliseconds(each, f"{flag}: burst") for each in (begin, end))
    if end_ms <= begin_ms:
        raise BadSetting(f"{flag}: burst={text!r} ends before it begins")
    if end_ms > for_ms:
        raise BadSetting(f"{flag}: the burst ends at {end_ms / 1e3:g}s, the load at {for_ms / 1e3:g}s")
    return peak, begin_ms, end_ms


def _closed(given: dict[str, str], drawn: Drawn, for_ms: float, flag: str) -> Load:
    clients = int(_number(given, "concurrency", 1, CLIENTS_MAX, flag))
    think_ms = milliseconds(given["think"], flag) if "think" in given else 0.0
    stagger_ms = milliseconds(given["stagger"], flag) if "stagger" in given else 1_000.0
    loop: Source = ClosedLoop(drawn, clients, 0, think_ms, stagger_ms, until_ms=for_ms)
    if "burst" in given:
        peak, begin_ms, end_ms = _burst(given["burst"], for_ms, flag)
        more = int(peak) - clients
        if more < 1:
            raise BadSetting(f"{flag}: a burst of {peak:g} clients is no more than {clients}")
        crowd = ClosedLoop(drawn, more, 0, think_ms, stagger_ms, until_ms=end_ms, begin_ms=begin_ms)
        loop = Together((loop, crowd))
    prompt, output = mean_lengths(drawn)
    return Load(loop, for_ms, prompt, output, 0.0, clients, longest_tokens=_longest(drawn))


def _trace(given: dict[str, str], flag: str) -> Load:
    requests = read_trace(Path(given["trace"]).expanduser(), flag)
    speed = _number(given, "speed", 1e-3, 1e3, flag) if "speed" in given else 1.0
    return load_of_requests(requests, speed)


def load_of_requests(requests: list[tuple[float, Ask]], speed: float = 1.0) -> Load:
    """A replay of requests at their times."""
    for_ms = max(requests[-1][0], 1.0) / speed + 1.0
    number = len(requests)
    prompt = sum(ask.prompt_tokens for _, ask in requests) / number
    output = sum(ask.answer_tokens for _, ask in requests) / number
    rate = number / for_ms * 1e3
    longest = max(ask.prompt_tokens + ask.answer_tokens for _, ask in requests)
    return Load(Replay(requests, speed), for_ms, prompt, output, rate, 0, rate, longest)
