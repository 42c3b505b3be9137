"""Requests that no engine can serve, beside others: their callers' error, once, and nobody else's trouble."""

from dataclasses import replace

import pytest

from services.common.domain import EmbeddingAsk, EmbeddingModel, FailureKind, FinishReason, Role
from services.common.domain.tokens import tokens
from services.common.errors import InvalidField, QuarantinedPrompt, RequestFailed
from services.router.core.actions import Announce
from tests.sim.invariants import check
from tests.sim.worker import SimWorker
from tests.sim.world import CONFIG, Caller, World

BAD = 66
SHORT, LONG = 10, 100
"""Prompts of the local path, and of the handoff."""


@pytest.fixture
def world() -> World:
    return World(0, replace(CONFIG, stall_timeout_ms=5_000, canary_interval_ms=0))


def workers_of(world: World, decode: int = 1, **faults: object) -> list[SimWorker]:
    """One prefill worker and some decode workers, all with the same faults."""
    made = [world.add_worker(Role.PREFILL, "p")]
    made += [world.add_worker(Role.DECODE, f"d{number}") for number in range(decode)]
    for worker in made:
        worker.faults = replace(worker.faults, chokes_on=BAD, **faults)
    return made


def shut_out(world: World) -> list[str]:
    return [entry.what for _, entry in world.log if isinstance(entry, Announce) and entry.is_shut_out]


def run_beside(world: World, attackers: int, prompt_tokens: int) -> tuple[list[Caller], list[Caller]]:
    """Attacks in a row, each beside an innocent request; then all has come to rest."""
    gateway, attacks, innocents = world.add_gateway(), [], []
    for _ in range(attackers):
        innocents.append(world.submit(gateway, prompt_tokens, 30, tenant="good"))
        attacks.append(world.submit(gateway, prompt_tokens, 30, tenant="bad", last=BAD))
        world.run(world.now_ms + 40.0)
    world.run_to_rest(60_000)
    check(world)
    return attacks, innocents


@pytest.mark.parametrize("prompt_tokens", [SHORT, LONG])
def test_what_cannot_be_is_an_error_once(world: World, prompt_tokens: int) -> None:
    workers, before = workers_of(world), world.core.state.retry_budget.left
    attacks, innocents = run_beside(world, 30, prompt_tokens)
    for caller in attacks:
        [end] = caller.outcomes
        assert isinstance(end.error, InvalidField)
        assert (end.error.field, end.receipt.retries) == ("guided_json", 0)
    assert {caller.outcomes[0].reason for caller in innocents} == {FinishReason.LENGTH}
    assert sum(caller.outcomes[0].receipt.retries for caller in innocents) == 0
    jobs = sum(worker.jobs_started for worker in workers)
    assert jobs == 30 + 30 * (2 if prompt_tokens == LONG else 1)
    assert shut_out(world) == []
    assert world.core.state.retry_budget.left == before


@pytest.mark.parametrize("prompt_tokens", [SHORT, LONG])
@pytest.mark.parametrize("decode", [1, 2, 3])
def test_a_failure_that_no_other_shares_is_tried_once_more(
    world: World, prompt_tokens: int, decode: int
) -> None:
    """An engine that does not say whose fault it is: others that go on beside it say it."""
    workers_of(world, decode, choke=FailureKind.ENGINE)
    before = world.core.state.retry_budget.left
    gateway = world.add_gateway()
    steady = [world.submit(gateway, SHORT, 900) for _ in range(2 * decode)]
    steady.append(world.submit(gateway, LONG, 900))
    world.run(world.now_ms + 200.0)
    attacks, innocents = run_beside(world, 20, prompt_tokens)
    ends = [caller.outcomes[0] for caller in attacks]
    assert {type(end.error) for end in ends} == {RequestFailed}
    assert max(end.receipt.retries for end in ends) == 1
    assert {caller.outcomes[0].reason for caller in innocents + steady} == {FinishReason.LENGTH}
    assert shut_out(world) == []
    assert world.core.state.retry_budget.left == before


def test_a_request_that_gets_nothing_in_time_is_not_its_worker_s_fault(world: World) -> None:
    """A step that never comes for one of many."""
    worker = world.add_worker(Role.DECODE, "d")
    gateway = world.add_gateway()
    stuck = world.submit(gateway, SHORT, 30)
    world.run(world.now_ms + 5.0)
    for job in worker.jobs.values():
        worker._is_live = lambda asked, held=job: asked.request_id != held.request_id  # type: ignore[method-assign]
    others = []
    for _ in range(100):
        others.append(world.submit(gateway, SHORT, 5))
        world.run(world.now_ms + 300.0)
    assert isinstance(stuck.outcomes[0].error, RequestFailed)
    assert {caller.outcomes[0].reason for caller in others} == {FinishReason.LENGTH}
    assert shut_out(world) == []


@pytest.mark.parametrize("failing", ["all", "new ones", "in one step"])
def test_a_worker_s_own_breakage_is_found(world: World, failing: str) -> None:
    bad, _ = world.add_worker(Role.DECODE, "bad"), world.add_worker(Role.DECODE, "good")
    gateway = world.add_gateway()
    callers = [world.submit(gateway, SHORT, 60) for _ in range(8)] if failing != "all" else []
    world.run(world.now_ms + 100.0)
    bad.faults.job_fails = FailureKind.ENGINE
    if failing == "in one step":
        for job in list(bad.jobs.values()):
            bad._fail(job, FailureKind.ENGINE)
    for _ in range(40):
        callers.append(world.submit(gateway, SHORT, 5))
        world.run(world.now_ms + 100.0)
    world.run_to_rest(60_000)
    assert {caller.outcomes[0].reason for caller in callers} == {FinishReason.LENGTH}
    assert "worker bad" in shut_out(world)


@pytest.mark.parametrize("where", ["prompt", "delivered", "a text for a vector"])
def test_a_token_that_the_model_cannot_read_is_refused_before_any_worker(world: World, where: str) -> None:
    model = EmbeddingModel(4, False, ()) if where == "a text for a vector" else None
    role = Role.PREFILL if model else Role.DECODE
    workers = [
        world.add_worker(role, vocabulary_size=size, embedding_model=model) for size in (0, 900, 1_000)
    ]
    more: dict[str, object] = {"embedding": EmbeddingAsk()} if model else {}
    if where == "delivered":
        more["delivered"] = tokens([5, 900])
    else:
        more["last"] = 900
    caller = world.submit(world.add_gateway(), 3, 5, **more)
    error = caller.outcomes[0].error
    assert isinstance(error, InvalidField)
    assert error.field == ("delivered" if where == "delivered" else "prompt")
    assert "900" in error.message
    assert sum(worker.jobs_started for worker in workers) == 0


def test_one_tenant_s_deadly_prompt_stays_another_s(world: World) -> None:
    workers = [world.add_worker(Role.DECODE, f"d{number}") for number in range(4)]
    gateway = world.add_gateway()
    prompt = tokens([5] * SHORT)

    def ask(tenant: str) -> Caller:
        caller = world.submit(gateway, SHORT, 60, tenant=tenant)
        request = replace(caller.request, prompt=prompt)
        flight = next(f for f in world.core.state.flights.values() if f.request is caller.request)
        flight.request = request
        return caller

    deadly = ask("bad")
    for _ in range(2):
        world.run(world.now_ms + 100.0)
        next(worker for worker in workers if worker.alive and worker.jobs).die()
    world.run(world.now_ms + 1_000.0)
    assert isinstance(deadly.outcomes[0].error, QuarantinedPrompt)
    quarantine = world.core.state.quarantine
    assert quarantine.holds("bad", prompt)
    assert not quarantine.holds("good", prompt)
    [what] = [what for what in shut_out(world) if what.startswith("prompt ")]
    assert what.endswith("of tenant bad")
