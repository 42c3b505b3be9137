"""What must hold after every run."""

from services.common.domain import FinishReason
from services.router.core.state import State
from tests.sim.world import LIMITS, Caller, World, expected_logprobs, expected_token


def check(world: World) -> None:
    """Raise AssertionError when an invariant is broken; canaries are let finish first."""
    world.stop_canaries()
    world.run_to_rest(10_000.0)
    check_callers(world)
    _check_at_rest(world.core.state)
    assert world.expired == 0, f"{world.expired} offers ran out unsettled"
    for worker in world.workers.values():
        assert not worker.jobs, f"{worker.registration.worker_id} still runs {list(worker.jobs)}"
        assert not worker.offers, f"{worker.registration.worker_id} still offers {list(worker.offers)}"


def check_callers(world: World) -> None:
    """Raise AssertionError when a caller saw what it should not."""
    for caller in world.callers.values():
        _check_caller(caller)


def _check_caller(caller: Caller) -> None:
    request = caller.request
    if caller.orphaned:
        assert not caller.outcomes
    else:
        assert len(caller.outcomes) == 1, f"{request.request_id}: {len(caller.outcomes)} outcomes"
    wanted = [expected_token(request.prompt, i) for i in range(len(caller.got))]
    assert caller.got == wanted, f"{request.request_id}: tokens lost, repeated or reordered"
    asked = request.sampling.logprobs
    fresh = caller.got[len(request.delivered) :] if asked is not None else []
    told = [expected_logprobs(token_id, asked or 0) for token_id in fresh]
    assert caller.described == told, f"{request.request_id}: logprobs are not those of the tokens"
    if not caller.outcomes:
        return
    outcome = caller.outcomes[0]
    assert outcome.receipt.retries <= LIMITS.retries_per_request_max
    if outcome.reason is FinishReason.LENGTH:
        assert len(caller.got) == request.sampling.max_tokens
        assert outcome.receipt.generated_tokens == len(caller.got)
    assert (outcome.error is not None) == (outcome.reason is FinishReason.ERROR)
    if len(caller.got) > len(request.delivered):
        assert caller.placed == 1, f"{request.request_id}: placed {caller.placed} times"


def _check_at_rest(state: State) -> None:
    assert not state.flights
    assert len(state.ledger) == 0, "a handoff is still open"
    for streams in state.streams_of.values():
        assert not streams
    for pool in state.fleet.pools.values():
        assert len(pool.prefill_queue) == len(pool.decode_queue) == 0
        assert pool.prefill_queue.tokens == pool.decode_queue.tokens == 0
        for worker in pool.workers.values():
            held = (len(worker.jobs), worker.slots_taken, worker.blocks_taken, worker.prefill_tokens_taken)
            assert held == (0, 0, 0, 0), f"{worker.worker_id} holds {held}"
