"""The core's decisions, one at a time, in a simulated mesh without chance where it matters."""

from dataclasses import replace

import pytest

from services.common.domain import (
    FailureKind,
    FinishReason,
    HandoffOffered,
    JobFinished,
    Path,
    Role,
    StepOutput,
)
from services.common.domain.tokens import tokens
from services.common.errors import (
    DeadlinePassed,
    InvalidField,
    ModelNotFound,
    NotResumable,
    NoWorkers,
    PathUnavailable,
    PromptTooLong,
    ProtocolViolation,
    QueueFull,
    QueueWaitExceeded,
    RetriesExhausted,
    Shed,
)
from services.router.core.events import Submitted, WorkerDraining, WorkerLoad, WorkerStep
from services.router.core.handoffs import RELEASE_MS_MAX
from services.router.core.intake import DEADLINE_CHECK_MS
from services.router.core.models import served_models
from services.router.core.timers import TimerKind
from tests.sim.invariants import check
from tests.sim.worker import LEASE_MS
from tests.sim.world import CONFIG, LIMITS, Caller, World, expected_logprobs


@pytest.fixture
def world() -> World:
    return World(0, replace(CONFIG, stall_timeout_ms=60_000, canary_interval_ms=0))


def outcome_of(world: World, caller: Caller, at_ms: float = 60_000.0):
    world.run(world.now_ms + at_ms)
    check(world)
    return caller.outcomes[0]


def test_a_long_prompt_goes_through_both_tiers(world):
    world.add_worker(Role.PREFILL, "p")
    world.add_worker(Role.DECODE, "d")
    caller = world.submit(world.add_gateway(), 100, 20)
    end = outcome_of(world, caller)
    assert end.reason is FinishReason.LENGTH
    receipt = end.receipt
    assert (receipt.path, receipt.path_reason) == (Path.DISAGGREGATED, "long_prompt")
    assert (receipt.prefill_worker, receipt.decode_worker, receipt.retries) == ("p", "d", 0)
    assert min(receipt.prefill_ms, receipt.handoff_ms, receipt.decode_ms, receipt.kv_size_bytes) > 0


@pytest.mark.parametrize(
    ("prompt_tokens", "more", "reason"), [(16, {}, "short_prompt"), (100, {"seed": 3}, "sampling")]
)
def test_short_prompts_and_inexact_sampling_go_local(world, prompt_tokens, more, reason):
    prefill = world.add_worker(Role.PREFILL)
    world.add_worker(Role.DECODE)
    end = outcome_of(world, world.submit(world.add_gateway(), prompt_tokens, 5, **more))
    assert (end.receipt.path, end.receipt.path_reason) == (Path.LOCAL, reason)
    assert prefill.jobs_started == 0


def test_the_first_token_leaves_before_the_handoff_is_adopted(world):
    world.add_worker(Role.PREFILL)
    decode = world.add_worker(Role.DECODE)
    decode.faults.adopt_never = True
    caller = world.submit(world.add_gateway(), 100, 20)
    world.run(200.0)
    assert len(caller.got) == 1
    assert caller.placed == 1


def test_without_prefill_workers_decode_prefills_and_strict_requests_are_told(world):
    world.add_worker(Role.DECODE)
    gateway = world.add_gateway()
    lenient = world.submit(gateway, 100, 5)
    strict = world.submit(gateway, 100, 5, strict_disaggregation=True)
    assert outcome_of(world, lenient).receipt.path_reason == "no_prefill_worker"
    assert isinstance(strict.outcomes[0].error, PathUnavailable)


def test_a_failed_handoff_is_recomputed_on_the_same_decode_worker(world):
    world.add_worker(Role.PREFILL)
    world.add_worker(Role.DECODE).faults.adopt_fails = True
    end = outcome_of(world, world.submit(world.add_gateway(), 100, 5))
    assert end.reason is FinishReason.LENGTH
    receipt = end.receipt
    assert (receipt.path, receipt.path_reason, receipt.retries) == (Path.LOCAL, "handoff_failed", 1)


def test_an_adoption_that_never_comes_is_recomputed(world):
    world.add_worker(Role.PREFILL)
    world.add_worker(Role.DECODE).faults.adopt_never = True
    end = outcome_of(world, world.submit(world.add_gateway(), 100, 5))
    assert (end.reason, end.receipt.path_reason) == (FinishReason.LENGTH, "handoff_timeout")


@pytest.mark.parametrize("adopt_fails", [False, True])
def test_kv_that_is_not_freed_after_its_handoff_is_counted_and_no_other_is(world, adopt_fails):
    prefill = world.add_worker(Role.PREFILL)
    prefill.faults.releases_never = True
    world.add_worker(Role.DECODE).faults.adopt_fails = adopt_fails
    caller = world.submit(world.add_gateway(), 100, 5)
    while not caller.outcomes:
        world.run(world.now_ms + 10.0)
    ledger = world.core.state.ledger
    assert (len(ledger), ledger.unreleased(world.now_ms)) == (1, 0), "the release may be on its way"
    world.run(world.now_ms + RELEASE_MS_MAX)
    assert (len(ledger), ledger.unreleased(world.now_ms)) == (1, 1)
    prefill.die()
    world.run(world.now_ms + 1_000.0)
    assert (len(ledger), ledger.unreleased(world.now_ms)) == (0, 0)


def test_kv_waits_for_a_decode_worker_as_long_as_its_lease(world):
    world.add_worker(Role.PREFILL).faults.releases_never = True
    world.add_worker(Role.DECODE).faults.adopt_never = True
    world.submit(world.add_gateway(), 100, 5, strict_disaggregation=True)
    while not len(ledger := world.core.state.ledger):
        world.run(world.now_ms + 10.0)
    free_by_ms = world.now_ms + LEASE_MS
    world.run(world.now_ms + 100.0)
    assert ledger.unreleased(free_by_ms + RELEASE_MS_MAX - 100.0) == 0
    assert ledger.unreleased(free_by_ms + RELEASE_MS_MAX + 100.0) == 1


def test_timers_of_far_deadlines_go_soon_after_their_requests(world):
    world.add_worker(Role.DECODE)
    gateway = world.add_gateway()
    for _ in range(5):
        outcome_of(world, world.submit(gateway, 10, 5, deadline_ms=86_400_000))
    world.run(world.now_ms + DEADLINE_CHECK_MS)
    kinds = [timer.kind for timer in world.core.state.timers.due(float("inf"))]
    assert TimerKind.DEADLINE not in kinds


def test_a_deadline_beyond_the_first_look_holds(world):
    decode = world.add_worker(Role.DECODE)
    decode.faults.slow = 1_000.0
    world.core.state.config = replace(
        world.core.state.config, prefill_timeout_ms=10**9, stall_timeout_ms=10**9
    )
    caller = world.submit(world.add_gateway(), 10, 100, deadline_ms=150_000)
    world.run(world.now_ms + 149_000.0)
    assert not caller.outcomes
    world.run(world.now_ms + 2_000.0)
    assert isinstance(caller.outcomes[0].error, DeadlinePassed)


def test_a_worker_that_turns_a_job_away_because_it_leaves_is_asked_no_more(world):
    leaving = world.add_worker(Role.DECODE, "a")
    leaving.faults.job_fails = FailureKind.LEAVING
    world.add_worker(Role.DECODE, "b")
    gateway = world.add_gateway()
    for _ in range(4):
        end = outcome_of(world, world.submit(gateway, 10, 5))
        assert (end.reason, end.receipt.decode_worker) == (FinishReason.LENGTH, "b")
        assert end.receipt.retries == 0, "nobody has failed"
    assert leaving.jobs_started == 1


def test_a_dead_decode_worker_is_resumed_elsewhere_from_what_was_delivered(world):
    world.add_worker(Role.PREFILL)
    first = world.add_worker(Role.DECODE, "a")
    caller = world.submit(world.add_gateway(), 100, 60)
    world.run(300.0)
    delivered = len(caller.got)
    assert 1 < delivered < 60
    world.add_worker(Role.DECODE, "b")
    first.die()
    end = outcome_of(world, caller)
    assert (end.reason, end.receipt.decode_worker, end.receipt.retries) == (FinishReason.LENGTH, "b", 1)


def test_a_seeded_request_restarts_before_its_first_token_and_is_refused_after(world):
    first = world.add_worker(Role.DECODE, "a")
    gateway = world.add_gateway()
    late = world.submit(gateway, 100, 60, seed=1)
    world.run(300.0)
    early = world.submit(gateway, 100, 5, seed=1)
    world.add_worker(Role.DECODE, "b")
    first.die()
    assert outcome_of(world, early).reason is FinishReason.LENGTH
    assert isinstance(late.outcomes[0].error, NotResumable)


def test_engines_that_replay_serve_seeds_on_both_paths_and_go_on_after_a_death(world):
    world.add_worker(Role.PREFILL, can_replay=1)
    first = world.add_worker(Role.DECODE, "a", can_replay=1)
    caller = world.submit(world.add_gateway(), 100, 60, seed=1)
    world.run(300.0)
    assert core_path(world, caller) is Path.DISAGGREGATED
    world.add_worker(Role.DECODE, "b", can_replay=1)
    first.die()
    receipt = outcome_of(world, caller).receipt
    assert (receipt.path, receipt.path_reason, receipt.retries) == (Path.LOCAL, "replay", 1)


def test_one_engine_that_cannot_replay_decides_for_its_pool(world):
    world.add_worker(Role.PREFILL, can_replay=1)
    world.add_worker(Role.DECODE, can_replay=1)
    world.add_worker(Role.DECODE)
    end = outcome_of(world, world.submit(world.add_gateway(), 100, 5, seed=1))
    assert end.receipt.path_reason == "sampling"


def core_path(world: World, caller: Caller) -> Path:
    return next(f.path for f in world.core.state.flights.values() if f.request is caller.request)


def test_retries_are_bounded(world):
    world.add_worker(Role.DECODE).faults.job_fails = FailureKind.ENGINE
    end = outcome_of(world, world.submit(world.add_gateway(), 10, 5))
    assert isinstance(end.error, RetriesExhausted)
    assert end.receipt.retries == LIMITS.retries_per_request_max


def test_a_job_that_no_engine_can_run_is_the_callers_fault(world):
    worker = world.add_worker(Role.DECODE)
    worker.faults.job_fails = FailureKind.INVALID
    end = outcome_of(world, world.submit(world.add_gateway(), 10, 5))
    assert isinstance(end.error, InvalidField)
    assert worker.jobs_started == 1


@pytest.mark.parametrize(
    ("prompt_tokens", "max_tokens", "kind"),
    [(10, 0, InvalidField), (990, 11, PromptTooLong), (1_001, 1, PromptTooLong)],
)
def test_misfits_are_refused_at_once(world, prompt_tokens, max_tokens, kind):
    world.add_worker(Role.DECODE)
    caller = world.submit(world.add_gateway(), prompt_tokens, max_tokens)
    assert type(caller.outcomes[0].error) is kind


def test_an_unknown_model_is_refused_at_once(world):
    caller = world.submit(world.add_gateway(), 10, 5)
    assert isinstance(caller.outcomes[0].error, ModelNotFound)


def test_a_full_queue_refuses_with_a_time_to_retry(world):
    world.add_worker(Role.DECODE, max_running_requests=1)
    gateway = world.add_gateway()
    callers = [world.submit(gateway, 10, 5) for _ in range(400)]
    errors = [c.outcomes[0].error for c in callers if c.outcomes]
    assert len(world.core.state.fleet.pools["m"].decode_queue) == LIMITS.queue_requests_max
    assert {type(e) for e in errors} == {Shed, QueueFull}
    assert all(e.retry_after_ms > 0 for e in errors)


def test_waiting_ends_with_the_reason(world):
    worker = world.add_worker(Role.DECODE, max_running_requests=1)
    worker.faults.slow = 1_000.0
    gateway = world.add_gateway()
    world.submit(gateway, 100, 60)
    waiting = world.submit(gateway, 10, 5)
    world.run(LIMITS.queue_wait_ms_max + 100.0)
    assert isinstance(waiting.outcomes[0].error, QueueWaitExceeded)
    worker.die()
    alone = world.submit(gateway, 10, 5)
    world.run(world.now_ms + LIMITS.queue_wait_ms_max + 100.0)
    assert isinstance(alone.outcomes[0].error, NoWorkers)


def test_a_deadline_ends_a_request_wherever_it_is(world):
    world.add_worker(Role.DECODE).faults.slow = 10.0
    caller = world.submit(world.add_gateway(), 10, 60, deadline_ms=500)
    assert isinstance(outcome_of(world, caller).error, DeadlinePassed)


def test_a_worker_that_sends_too_much_is_cut_at_max_tokens(world):
    world.add_worker(Role.DECODE).faults.too_many_tokens = True
    end = outcome_of(world, world.submit(world.add_gateway(), 10, 5))
    assert (end.reason, end.receipt.generated_tokens) == (FinishReason.LENGTH, 5)


def test_a_stream_named_twice_beyond_max_tokens_ends_once(world):
    worker = world.add_worker(Role.DECODE)
    caller = world.submit(world.add_gateway(), 10, 1)
    world.run(10.0)
    stream = next(iter(worker.jobs))
    step = StepOutput()
    for ids in ([1, 2], [3]):
        step.tokens.add(stream, tokens(ids))
    actions = world.core.on_event(WorkerStep(worker.session, step), world.now_ms)
    assert [type(a).__name__ for a in actions] == ["SendPlaced", "SendTokens", "EndStream", "AbortJob"] or [
        type(a).__name__ for a in actions
    ] == ["SendPlaced", "SendTokens", "AbortJob", "EndStream"]
    assert list(actions[1].columns.token_ids) == [1]
    assert not caller.outcomes
    assert not world.core.state.flights


def test_logprobs_stay_with_their_tokens_when_a_frame_names_a_stream_twice_and_too_often(world):
    worker = world.add_worker(Role.DECODE)
    caller = world.submit(world.add_gateway(), 10, 3, logprobs=2)
    world.run(10.0)
    stream = next(iter(worker.jobs))
    step = StepOutput()
    for ids in ([1, 2], [3, 4]):
        step.tokens.add(stream, tokens(ids))
        for token_id in ids:
            step.tokens.add_logprobs(stream, expected_logprobs(token_id, 2))
    for action in world.core.on_event(WorkerStep(worker.session, step), world.now_ms):
        world.perform(action)
    assert caller.got == [1, 2, 3]
    assert caller.described == [expected_logprobs(i, 2) for i in caller.got]


def test_one_job_without_news_is_placed_again_though_its_worker_is_busy(world):
    worker = world.add_worker(Role.DECODE, "deaf")
    gateway = world.add_gateway()
    lost = world.submit(gateway, 10, 60)
    world.run(10.0)
    worker.jobs.clear()
    world.add_worker(Role.DECODE, "other")
    for _ in range(40):
        world.submit(gateway, 10, 20)
        world.run(world.now_ms + 100.0)
    end = outcome_of(world, lost)
    assert (end.reason, end.receipt.retries) == (FinishReason.LENGTH, 1)


def test_a_draining_worker_gets_nothing_new_and_finishes_what_it_has(world):
    leaving = world.add_worker(Role.DECODE, "leaving")
    gateway = world.add_gateway()
    running = world.submit(gateway, 10, 60)
    world.feed(WorkerDraining(leaving.session))
    world.add_worker(Role.DECODE, "staying")
    new = world.submit(gateway, 10, 5)
    assert outcome_of(world, new).receipt.decode_worker == "staying"
    assert running.outcomes[0].receipt.decode_worker == "leaving"


def test_work_goes_to_the_least_loaded_worker(world):
    for name in "abc":
        world.add_worker(Role.DECODE, name)
    gateway = world.add_gateway()
    callers = [world.submit(gateway, 10, 5) for _ in range(6)]
    world.run(5_000.0)
    served = sorted(c.outcomes[0].receipt.decode_worker for c in callers)
    assert served == ["a", "a", "b", "b", "c", "c"]


def test_a_resubmitted_request_goes_on_from_what_was_delivered(world):
    world.add_worker(Role.DECODE)
    gateway = world.add_gateway()
    whole = world.submit(gateway, 10, 5)
    world.run(2_000.0)
    again = Submitted(gateway, 77, replace(whole.request, delivered=tokens(whole.got[:3])))
    world.callers[gateway, 77] = caller = Caller(again.request, gateway, whole.got[:3])
    world.feed(again)
    assert outcome_of(world, caller).reason is FinishReason.LENGTH
    assert caller.got == whole.got


def test_what_a_lost_router_had_goes_first_and_counts_as_no_arrival(world):
    world.add_worker(Role.DECODE, max_running_requests=1)
    gateway = world.add_gateway()
    ahead = [world.submit(gateway, 10, 5) for _ in range(3)]
    moved = world.submit(gateway, 10, 5, resubmitted=True)
    assert world.core.state.demand_of("m").decode.arrived_requests == 3
    world.run(60_000.0)
    seconds = [c for c in (*ahead[1:], moved) if c.outcomes[0].receipt.queue_ms]
    assert min(seconds, key=lambda c: c.outcomes[0].receipt.queue_ms) is moved
    check(world)


def test_a_stream_number_in_use_breaks_the_rules_and_changes_nothing(world):
    world.add_worker(Role.DECODE)
    gateway = world.add_gateway()
    caller = world.submit(gateway, 10, 5)
    stream = next(iter(world.core.state.streams_of[gateway]))
    with pytest.raises(ProtocolViolation):
        world.feed(Submitted(gateway, stream, caller.request))
    assert outcome_of(world, caller).reason is FinishReason.LENGTH


def test_news_of_unknown_jobs_offers_and_sessions_is_settled_or_ignored(world):
    worker = world.add_worker(Role.PREFILL)
    world.add_worker(Role.DECODE)
    step = StepOutput(
        offered=[HandoffOffered(99, "x", b"", 10, 1, 1, 1_000, tokens([1]))],
        finished=[JobFinished(98, FinishReason.STOP)],
    )
    step.tokens.add(97, tokens([5]))
    actions = world.core.on_event(WorkerStep(worker.session, step), world.now_ms)
    assert [type(a).__name__ for a in actions] == ["ReleaseHandoff"]
    assert world.core.on_event(WorkerStep(12_345, step), world.now_ms) == []
    assert world.core.on_event(WorkerLoad(12_345, None), world.now_ms) == []
    check(world)


def test_a_worker_that_does_not_fit_the_fleet_is_refused_with_both_names(world):
    world.add_worker(Role.PREFILL, "p", block_size_tokens=16)
    world.add_worker(Role.DECODE, "d", block_size_tokens=32)
    message = str(world.refused[0].error)
    assert "d does not fit p" in message
    assert "block_size_tokens: 32 != 16" in message
    assert len(world.core.state.fleet.workers) == 1


@pytest.mark.parametrize("shape", [{"kv_blocks": 0}, {"max_running_requests": 0}, {"block_size_tokens": 0}])
def test_a_worker_without_capacity_is_refused(world, shape):
    world.add_worker(Role.DECODE, **shape)
    assert world.refused
    assert not world.core.state.fleet.workers


def test_a_worker_that_comes_back_takes_its_own_place(world):
    old = world.add_worker(Role.DECODE, "d")
    caller = world.submit(world.add_gateway(), 10, 60)
    world.run(100.0)
    world.add_worker(Role.DECODE, "d")
    assert [r.session for r in world.refused] == [old.session]
    assert outcome_of(world, caller).reason is FinishReason.LENGTH


def test_tiers_say_what_they_wait_for(world):
    prefill = world.add_worker(Role.PREFILL, max_batched_tokens=64)
    world.add_worker(Role.DECODE, max_running_requests=4)
    pool, gateway = world.core.state.fleet.pools["m"], world.add_gateway()
    for _ in range(3):
        world.submit(gateway, 100, 5)
    assert prefill.registration.capacity.max_batched_tokens == 64
    assert (pool.waiting(Role.PREFILL), pool.waiting(Role.DECODE)) == ((2, 200), (0, 0))
    for _ in range(5):
        world.submit(gateway, 10, 5)
    world.submit(gateway, 100, 5)
    waiting_prefill, waiting_decode = pool.waiting(Role.PREFILL), pool.waiting(Role.DECODE)
    assert waiting_prefill[0] + waiting_decode[0] == 5
    assert waiting_decode[0] > 0


def test_models_follow_the_fleet(world):
    assert served_models(world.core.state) == ()
    world.add_worker(Role.PREFILL)
    assert served_models(world.core.state) == ()
    decode = world.add_worker(Role.DECODE, max_model_len_tokens=900)
    (model,) = served_models(world.core.state)
    assert (model.name, model.max_model_len_tokens, model.prefill_workers, model.decode_workers) == (
        "m",
        900,
        1,
        1,
    )
    decode.die()
    assert served_models(world.core.state) == ()


def test_nothing_is_due_for_a_request_that_has_ended(world):
    world.add_worker(Role.DECODE)
    caller = world.submit(world.add_gateway(), 10, 5)
    world.run(5.0)
    assert world.core.next_due_ms is not None
    while not caller.outcomes:
        world.run(world.now_ms + 5.0)
    assert world.now_ms < 1_000.0, "before any reminder is due"
    assert world.core.next_due_ms is None
