"""How many workers a tier needs, and why: each reason by itself, and the largest counts."""

from typing import NamedTuple, Protocol

from services.router.core.scaling.meter import Meter
from services.router.core.scaling.rules import TierRules
from services.router.core.scaling.signal import TierSignal


class Need(NamedTuple):
    """So many workers, a fraction allowed."""

    workers: float
    why: str


class Case(NamedTuple):
    """What a need is judged by."""

    signal: TierSignal
    meter: Meter
    rules: TierRules
    clear_ms: float
    """What waits should be gone in this time."""
    ahead_ms: float
    """Arrivals are expected as they will be then."""


class Reason(Protocol):
    """One reason for workers."""

    def need(self, case: Case) -> Need | None:
        """`None` where it has nothing to say."""


class PrefillArrivals:
    """Prompts arrive at a rate: tokens per millisecond / (a worker's pace x target occupancy)."""

    def need(self, case: Case) -> Need | None:
        """Silent until a pace is measured."""
        pace, rate = case.meter.tokens_per_busy_ms, case.meter.tokens.per_ms(case.ahead_ms)
        if pace is None:
            return None
        workers = rate / (pace * case.rules.target_occupancy)
        words = f"{rate * 1e3:.0f} prompt tokens/s arrive, a worker runs {pace * 1e3:.0f}/s"
        return Need(workers, words)


class PrefillBacklog:
    """Prompts wait, in the router or at a worker behind another: arrivals and what waits spread over the time
    to clear it, over a worker's pace; never more workers than texts.
    """

    def need(self, case: Case) -> Need | None:
        """Silent while nothing waits; one worker more than serves until a pace is measured."""
        signal, pace = case.signal, case.meter.tokens_per_busy_ms
        texts = signal.queued_requests + signal.running_requests
        waiting = texts - signal.busy
        if waiting <= 0 or (pace is None and not signal.queued_requests):
            return None
        tokens = (signal.queued_tokens + signal.running_tokens) * waiting / texts
        words = f"{waiting} requests ({tokens:.0f} tokens) wait"
        if pace is None:
            return Need(min(signal.serving + 1, texts), words)
        rate = case.meter.tokens.per_ms(case.ahead_ms) + tokens / case.clear_ms
        return Need(min(rate / pace, texts), words)


class DecodeArrivals:
    """Requests arrive at a rate and each holds a seat for a time: rate x time (Little's law) / seats."""

    def need(self, case: Case) -> Need | None:
        """Silent until the time is measured."""
        seats, seat_ms = case.meter.seats_per_worker, case.meter.seat_ms
        rate = case.meter.requests.per_ms(case.ahead_ms)
        if seat_ms is None or not seats:
            return None
        words = (
            f"{rate * 1e3:.1f} requests/s arrive and stay {seat_ms / 1e3:.1f} s, a worker seats {seats:.0f}"
        )
        return Need(rate * seat_ms / (seats * case.rules.target_occupancy), words)


class DecodeSeats:
    """Seats are taken: their share of all should not exceed the target occupancy."""

    def need(self, case: Case) -> Need | None:
        """Silent until a worker has served."""
        seats, taken = case.meter.seats_per_worker, case.signal.running_requests
        if not seats:
            return None
        return Need(
            taken / (seats * case.rules.target_occupancy), f"{taken} seats are taken of {seats:.0f} each"
        )


class DecodeBacklog:
    """Requests wait for a seat: as many workers as seat all at once, or fewer where seats free up."""

    def need(self, case: Case) -> Need | None:
        """Silent while nothing waits."""
        signal, seats, seat_ms = case.signal, case.meter.seats_per_worker, case.meter.seat_ms
        if not signal.queued_requests:
            return None
        words = f"{signal.queued_requests} requests wait for a seat"
        if not seats:
            return Need(1.0, words)
        workers = (signal.queued_requests + signal.running_requests) / seats
        if seat_ms is not None:
            rate = case.meter.requests.per_ms(case.ahead_ms) + signal.queued_requests / case.clear_ms
            workers = min(workers, rate * seat_ms / seats)
        return Need(workers, words)


class DecodeStep:
    """Steps are slow: so many requests at each worker that a step takes the target, by the line through
    measured steps. Where even an empty step takes longer, workers do not help, and it is silent.
    """

    def need(self, case: Case) -> Need | None:
        """Silent without a target, too."""
        fit, target_ms = case.meter.steps, case.rules.step_ms_target
        if not target_ms or not fit.samples or fit.per_unit <= 0 or fit.fixed >= target_ms:
            return None
        batch = max(1.0, (target_ms - fit.fixed) / fit.per_unit)
        running = case.signal.running_requests
        return Need(
            running / batch, f"{running} requests run, {batch:.0f} at a worker make a step {target_ms:.0f} ms"
        )


PREFILL: tuple[Reason, ...] = (PrefillArrivals(), PrefillBacklog())
DECODE: tuple[Reason, ...] = (DecodeArrivals(), DecodeSeats(), DecodeBacklog(), DecodeStep())
NOTHING = Need(0.0, "nothing to do")


def largest(reasons: tuple[Reason, ...], case: Case) -> Need:
    """The need that counts."""
    needs = (reason.need(case) for reason in reasons)
    return max((need for need in needs if need is not None), key=lambda need: need.workers, default=NOTHING)
