"""Placement policies: what is chosen, from whom, and what is remembered."""

from dataclasses import replace
from random import Random

import pytest

from services.common.domain import (
    Capacity,
    Fingerprint,
    KvChange,
    LoadReport,
    Path,
    Receipt,
    Registration,
    Request,
    Role,
    Sampling,
)
from services.common.domain.tokens import tokens
from services.router.core.candidates import FULL_TTL_MS, Candidates
from services.router.core.candidates import Sampling as CandidateSampling
from services.router.core.config import CoreConfig
from services.router.core.fit import DecayedFit
from services.router.core.fleet import Fleet, Pool, Worker
from services.router.core.flight import Flight
from services.router.core.paths import LearntThreshold
from services.router.core.placement import Policies
from services.router.core.sessions import Adapters, Conversations, Recent
from services.router.core.timing import Timing
from services.router.core.versions import ModelVersions

SIZE = 16
CONFIG = CoreConfig(local_prompt_tokens_max=32, expected_output_tokens=16)


class Mesh:
    """A fleet and its policies, without the rest of the core."""

    def __init__(self, config: CoreConfig = CONFIG, **timing) -> None:
        self.policies = Policies.of(config, **timing)
        self.fleet = Fleet(config)
        self.names = 0

    def add(self, role: Role, kv_blocks: int = 100, slots: int = 8) -> Worker:
        session = len(self.fleet.workers) + 1
        prints = Fingerprint("m", "d", "f", "f", SIZE, 1, "e", "1", "c")
        capacity = Capacity(kv_blocks, 1, slots, 1_000, 10_000)
        adapters = dict.fromkeys("ab", "digest")
        worker = Worker(session, Registration(f"w{session}", role, prints, capacity, adapters=adapters), 0.0)
        self.pool: Pool = self.fleet.attach(worker)
        return worker

    def cache(self, worker: Worker, ids) -> None:
        names = tuple(bytes([n]) for n in range(len(ids) // SIZE))
        change = KvChange(names, b"", (), tokens(ids[: len(names) * SIZE]), SIZE)
        self.policies.kv_changed(worker, [change])

    def flight(self, ids=range(100), **more) -> Flight:
        request = Request("r", "m", tokens(ids), Sampling(16), **more)
        flight = Flight(1, 1, request, self.pool, Receipt("r"), tokens(), 0.0)
        flight.path = self.policies.choose_path(flight).path
        return flight

    def decode(self, flight: Flight, now_ms: float = 0.0) -> Worker | None:
        return self.policies.pick_decode(flight, now_ms)

    def prefill(self, flight: Flight) -> Worker | None:
        return self.policies.pick_prefill(flight, lambda _: True, 0.0)


def test_decode_goes_where_blocks_are_free_and_steps_are_quick():
    mesh = Mesh()
    first, second = mesh.add(Role.DECODE), mesh.add(Role.DECODE)
    first.take(1, 50, 0)
    assert mesh.decode(mesh.flight()) is second
    second.take(1, 50, 0)
    first.load = LoadReport(step_ms=200.0)
    assert mesh.decode(mesh.flight()) is second


def test_prefill_weighs_a_cached_token_against_a_queued_one():
    mesh = Mesh()
    cached, idle = mesh.add(Role.PREFILL), mesh.add(Role.PREFILL)
    mesh.cache(cached, range(96))
    assert mesh.prefill(mesh.flight()) is cached
    cached.take(1, 1, 90)
    assert mesh.prefill(mesh.flight()) is cached
    cached.take(0, 0, 10)
    assert mesh.prefill(mesh.flight()) is idle


def test_who_failed_a_flight_is_the_last_resort():
    mesh = Mesh()
    first, second = mesh.add(Role.DECODE), mesh.add(Role.DECODE)
    second.take(3, 50, 0)
    flight = mesh.flight()
    flight.avoided_workers.add(first.session)
    assert mesh.decode(flight) is second
    flight.avoided_workers.add(second.session)
    assert mesh.decode(flight) is first


def test_only_uncached_tokens_ask_for_a_handoff_and_the_local_path_finds_the_cache():
    mesh = Mesh()
    cached, _ = mesh.add(Role.DECODE), mesh.add(Role.DECODE)
    prefill = mesh.add(Role.PREFILL)
    mesh.cache(prefill, range(96))
    assert mesh.policies.choose_path(mesh.flight()).path is Path.DISAGGREGATED
    mesh.cache(cached, range(96))
    cached.take(2, 60, 0)
    flight = mesh.flight()
    choice = mesh.policies.choose_path(flight)
    assert (choice.path, choice.reason) == (Path.LOCAL, "cached_prompt")
    assert mesh.decode(flight) is cached
    assert mesh.policies.choose_path(mesh.flight(cache_salt="other")).path is Path.DISAGGREGATED


def test_a_departed_workers_cache_attracts_nothing():
    mesh = Mesh()
    leaving = mesh.add(Role.DECODE)
    mesh.cache(leaving, range(96))
    mesh.policies.worker_gone(leaving)
    assert mesh.policies.choose_path(mesh.flight()).path is Path.DISAGGREGATED


def test_conversations_stay_where_they_were_unless_the_worker_tells_of_its_cache():
    mesh = Mesh()
    mesh.add(Role.PREFILL)
    second = mesh.add(Role.PREFILL)
    flight = mesh.flight(session_key="chat")
    mesh.policies.placed(flight, Role.PREFILL, second, 0.0)
    assert mesh.prefill(mesh.flight(session_key="chat")) is second
    assert mesh.prefill(mesh.flight(session_key="chat", tenant="another")) is not second
    mesh.cache(second, range(1_000, 1_016))
    assert mesh.prefill(mesh.flight(session_key="chat")) is not second


def test_adapters_go_where_they_are_loaded():
    mesh = Mesh()
    mesh.add(Role.DECODE)
    second = mesh.add(Role.DECODE)
    mesh.policies.placed(mesh.flight(lora="a"), Role.DECODE, second, 0.0)
    assert mesh.decode(mesh.flight(lora="a")) is second
    assert mesh.decode(mesh.flight(lora="b")) is not second


def test_what_is_remembered_is_bounded_in_number_and_time():
    recent: Recent[int, int] = Recent(2, ttl_ms=10.0)
    for key in range(3):
        recent.put(key, key, float(key))
    assert [recent.get(k, 3.0) for k in range(3)] == [None, 1, 2]
    assert recent.get(2, 13.0) is None
    assert len(recent) == 1
    adapters = Adapters(4, 1_000.0)
    request = Request("r", "m", tokens([1]), Sampling(1), lora="a")
    for session in range(20):
        adapters.ran(request, session, 0.0)
    assert list(adapters.workers_of(request, 0.0)) == list(range(12, 20))
    conversations = Conversations(4, 1_000.0)
    conversations.placed(request, Role.DECODE, 1, 0.0)
    assert conversations.worker_of(request, Role.DECODE, 0.0) is None


def large(workers: int = 200) -> Mesh:
    mesh = Mesh()
    for _ in range(workers):
        mesh.add(Role.DECODE)
    return mesh


def test_a_large_tier_is_sampled_and_those_that_matter_are_always_looked_at():
    mesh = large()
    cached = mesh.fleet.workers[150]
    mesh.cache(cached, range(96))
    flight = mesh.flight()
    mesh.fleet.workers[160].take(1, 1, 0)
    mesh.policies.room_changed(mesh.fleet.workers[160])
    candidates = mesh.policies._candidates
    tier = candidates.decode(mesh.pool)
    question = mesh.policies._question(flight, tier, 100, 116, 0.0)
    seen = {w.session for w in candidates.some(tier, question)}
    assert {150, 160} <= seen
    assert len(seen) <= 8


def test_the_same_seed_chooses_the_same_workers():
    def chosen():
        mesh = large()
        return [mesh.decode(mesh.flight()).session for _ in range(20)]

    first = chosen()
    assert chosen() == first
    assert len(set(first)) > 5


def test_the_one_worker_with_room_is_found_and_a_full_tier_remembered_until_room_changes():
    mesh = large()
    for worker in mesh.fleet.workers.values():
        worker.take(8, 8, 0)
    last = mesh.fleet.workers[123]
    last.take(-1, 0, 0)
    assert mesh.decode(mesh.flight()) is last
    last.take(1, 0, 0)
    assert mesh.decode(mesh.flight()) is None
    last.take(-1, 0, 0)
    assert mesh.decode(mesh.flight()) is None, "nobody has said that room changed"
    mesh.policies.room_changed(last)
    assert mesh.decode(mesh.flight()) is last
    last.take(1, 0, 0)
    assert mesh.decode(mesh.flight()) is None
    last.take(-1, 0, 0)
    assert mesh.decode(mesh.flight(), now_ms=FULL_TTL_MS + 1) is last


def test_a_tier_full_for_much_may_have_room_for_little():
    mesh = Mesh()
    worker = mesh.add(Role.DECODE, kv_blocks=20)
    worker.take(1, 15, 0)
    assert mesh.decode(mesh.flight(range(200))) is None
    assert mesh.decode(mesh.flight(range(40))) is worker


def test_that_no_partner_may_hand_over_does_not_make_the_tier_full():
    mesh = Mesh()
    worker = mesh.add(Role.PREFILL)
    assert mesh.policies.pick_prefill(mesh.flight(), lambda _: False, 0.0) is None
    assert mesh.prefill(mesh.flight()) is worker


def test_where_the_best_may_not_hand_over_the_next_best_does():
    mesh = Mesh()
    cached, second, third = (mesh.add(Role.PREFILL) for _ in range(3))
    mesh.cache(cached, range(96))
    third.take(1, 1, 50)
    assert mesh.prefill(mesh.flight()) is cached
    assert mesh.policies.pick_prefill(mesh.flight(), lambda w: w is not cached, 0.0) is second
    assert mesh.policies.pick_prefill(mesh.flight(), lambda w: w is third, 0.0) is third


def test_strangers_are_placed_as_if_all_policies_were_asked():
    mesh = large(workers=20)
    chance = Random(0)
    for worker in mesh.fleet.workers.values():
        worker.take(chance.randrange(9), chance.randrange(100), 0)
    policies = mesh.policies
    tier = policies._candidates.decode(mesh.pool)
    question = policies._question(mesh.flight(), tier, 100, 116, 0.0)
    for name, profile in policies._for_known.items():
        shorter = policies._for_strangers[name]
        assert len(shorter.filters) < len(profile.filters)
        for number in range(1, 20):
            some = tier.workers[:number]
            assert shorter.pick(question, some) is profile.pick(question, some)


def test_a_changed_role_changes_the_tier():
    mesh = Mesh()
    worker = mesh.add(Role.DECODE)
    assert mesh.prefill(mesh.flight()) is None
    worker.role = Role.BOTH
    mesh.pool.recount()
    assert mesh.prefill(mesh.flight()) is worker


def test_policies_are_timed_by_name_with_the_given_stopwatch():
    ticks = iter(range(1_000))
    timing = Timing(lambda: float(next(ticks)))
    mesh = Mesh(timing=timing)
    mesh.add(Role.DECODE)
    mesh.add(Role.DECODE)
    mesh.decode(mesh.flight())
    assert timing.total_s["has_room"] == timing.total_s["free_blocks"] == timing.total_s["best_score"] == 1.0


def test_a_line_through_measurements_is_found_and_follows_change():
    fit = DecayedFit(memory_samples=20)
    for x in (100, 500, 1_000, 2_000) * 10:
        fit.add(x, 5.0 + 0.1 * x)
    assert fit.per_unit == pytest.approx(0.1)
    assert fit.fixed == pytest.approx(5.0)
    for x in (100, 500, 1_000, 2_000) * 100:
        fit.add(x, 1.0 + 0.2 * x)
    assert fit.per_unit == pytest.approx(0.2)


def test_alike_and_absent_measurements_have_a_slope_too():
    fit = DecayedFit(10)
    assert (fit.per_unit, fit.fixed) == (0.0, 0.0)
    fit.add(100, 20.0)
    fit.add(100, 20.0)
    assert (fit.per_unit, fit.fixed) == (pytest.approx(0.2), pytest.approx(0.0))


def learnt(local_ms: float, remote_ms: float, fixed_ms: float, samples: int = 30) -> int:
    policy = LearntThreshold(replace(CONFIG, local_interference=1.0))
    for number in range(samples):
        n = 100 + number * 50
        policy.learn(Receipt("r", Path.LOCAL, prompt_tokens=n, prefill_ms=n * local_ms))
        handoff_ms = fixed_ms + n * 0.01
        remote = Receipt("r", Path.DISAGGREGATED, prompt_tokens=n, prefill_ms=n * remote_ms)
        remote.handoff_ms = handoff_ms
        policy.learn(remote)
    return policy.local_tokens_max


def test_the_learnt_threshold_is_the_break_even_length():
    assert learnt(0.1, 0.1, 20.0) == pytest.approx(20.0 / (0.2 - 0.1 - 0.01), abs=1)
    assert learnt(0.1, 0.1, 20.0, samples=5) == CONFIG.local_prompt_tokens_max
    assert learnt(0.1, 0.1, 1e6) == CONFIG.learnt_local_tokens_max
    assert learnt(0.1, 0.5, 20.0) == CONFIG.learnt_local_tokens_max
    assert learnt(10.0, 0.1, 0.001) == CONFIG.learnt_local_tokens_min


def test_retried_requests_teach_nothing():
    policy = LearntThreshold(CONFIG)
    policy.learn(Receipt("r", Path.LOCAL, prompt_tokens=100, prefill_ms=1.0, retries=1))
    assert policy._local.samples == 0


def test_versions_are_sticky_follow_their_weights_and_roll_back_at_once():
    versions = ModelVersions({"chat": {"v1": 0.9, "v2": 0.1}})
    callers = [f"tenant-{n}" for n in range(2_000)]
    first = {c: versions.version("chat", c) for c in callers}
    assert {c: versions.version("chat", c) for c in callers} == first
    assert 0.07 < sum(v == "v2" for v in first.values()) / len(callers) < 0.13
    more = ModelVersions({"chat": {"v1": 0.5, "v2": 0.5}})
    assert all(more.version("chat", c) == "v2" for c in callers if first[c] == "v2")
    back = ModelVersions({"chat": {"v1": 1.0, "v2": 0.0}})
    assert {back.version("chat", c) for c in callers} == {"v1"}
    assert versions.version("another", "x") == "another"


def test_a_small_tier_is_looked_at_whole():
    mesh = large(workers=20)
    candidates = Candidates(CandidateSampling(), mesh.policies.index, Random(0))
    tier = candidates.decode(mesh.pool)
    question = mesh.policies._question(mesh.flight(), tier, 100, 116, 0.0)
    assert len(candidates.some(tier, question)) == 20
