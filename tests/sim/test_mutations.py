"""The simulation can fail: each planted fault in the core is found within a few seeds."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.common.domain import HandoffOffered
from services.router.core.ending import Ending
from services.router.core.fleet import Seat
from services.router.core.flight import Flight
from services.router.core.handoffs import HandoffLedger, HandoffState
from services.router.core.intake import Intake
from services.router.core.placing import Placing
from services.router.core.progress import Progress
from services.router.core.queues import WaitQueue
from services.router.core.recovery import Recovery
from tests.sim.scenario import break_of
from tests.sim.world import World

Mutation = Callable[[pytest.MonkeyPatch], None]
SEEDS = range(200)


def nothing(*_args: object, **_kwargs: object) -> None:
    return None


def forget_to_release_offers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ending, "drop_handoff", nothing)


def forget_to_leave_seats(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ending, "leave_seats", nothing)


def forget_to_abort(patch: pytest.MonkeyPatch) -> None:
    original = Ending.stop_job
    patch.setattr(Ending, "stop_job", lambda self, flight, abort: original(self, flight, abort=False))


def forget_the_retry_bound(patch: pytest.MonkeyPatch) -> None:
    def unbounded(_self: Recovery, flight: Flight, _why: str, _now_ms: float) -> bool:
        flight.receipt.retries += 1
        return False

    patch.setattr(Recovery, "_is_out_of_retries", unbounded)


def forget_offers_of_ended_flights(patch: pytest.MonkeyPatch) -> None:
    original = Progress._offered

    def keep(self: Progress, worker: object, offer: object, now_ms: float) -> None:
        if offer.stream in worker.jobs:
            original(self, worker, offer, now_ms)

    patch.setattr(Progress, "_offered", keep)


def forget_dead_workers_jobs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recovery, "worker_gone", nothing)


def deliver_resumed_tokens_twice(patch: pytest.MonkeyPatch) -> None:
    original = Placing._start

    def from_the_start(self: Placing, flight: Flight, *rest: object) -> None:
        kept, flight.delivered = flight.delivered, flight.delivered[:0]
        original(self, flight, *rest)
        flight.delivered = kept

    patch.setattr(Placing, "_start", from_the_start)


def forget_the_first_token(patch: pytest.MonkeyPatch) -> None:
    def kept_back(_self: Progress, flight: Flight, offer: object) -> None:
        flight.delivered.extend(offer.token_ids)

    patch.setattr(Progress, "_first_tokens", kept_back)


def forget_the_first_tokens_logprobs(patch: pytest.MonkeyPatch) -> None:
    original = Progress._first_tokens

    def bare(self: Progress, flight: Flight, offer: HandoffOffered) -> None:
        original(self, flight, replace(offer, logprobs=None))

    patch.setattr(Progress, "_first_tokens", bare)


def never_time_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recovery, "overdue", nothing)
    patch.setattr(Recovery, "stalled", nothing)


def forget_queue_waits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Intake, "waited_too_long", nothing)


def lose_track_of_queued_tokens(patch: pytest.MonkeyPatch) -> None:
    original = WaitQueue.remove

    def short(self: WaitQueue, flight: Flight) -> bool:
        before = self.tokens
        found = original(self, flight)
        self.tokens = before
        return found

    patch.setattr(WaitQueue, "remove", short)


def release_without_leaving_the_seat(patch: pytest.MonkeyPatch) -> None:
    def careless(self: HandoffLedger, session: int, handoff_id: str, *, expired: bool) -> object:
        return self._open.pop((session, handoff_id), None)

    patch.setattr(HandoffLedger, "release", careless)


def believe_late_tokens(patch: pytest.MonkeyPatch) -> None:
    """Aborted jobs stay known, so their late tokens reach the client."""
    original = Ending.stop_job

    def keep(self: Ending, flight: Flight, *, abort: bool) -> None:
        worker, stream = flight.worker, flight.job_stream
        original(self, flight, abort=abort)
        if worker is not None and abort:
            worker.jobs[stream] = flight

    patch.setattr(Ending, "stop_job", keep)


def adopt_twice(patch: pytest.MonkeyPatch) -> None:
    original = Placing.start_adopting

    def again(self: Placing, flight: Flight, seat: Seat, now_ms: float) -> None:
        original(self, flight, seat, now_ms)
        if flight.handoff is not None and flight.handoff.state is HandoffState.OFFERED:
            original(self, flight, seat, now_ms)

    patch.setattr(Placing, "start_adopting", again)


MUTATIONS: list[Mutation] = [
    forget_to_release_offers,
    forget_to_leave_seats,
    forget_to_abort,
    forget_the_retry_bound,
    forget_offers_of_ended_flights,
    forget_dead_workers_jobs,
    deliver_resumed_tokens_twice,
    forget_the_first_token,
    forget_the_first_tokens_logprobs,
    never_time_out,
    forget_queue_waits,
    lose_track_of_queued_tokens,
    release_without_leaving_the_seat,
    believe_late_tokens,
    adopt_twice,
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda m: m.__name__)
def test_the_simulation_finds(mutate: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch)
    assert any(break_of(World(seed)) for seed in SEEDS), f"no seed found: {mutate.__name__}"
