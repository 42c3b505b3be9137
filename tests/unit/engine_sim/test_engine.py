"""The simulated engine runs jobs in batched steps and leaves nothing behind."""

import asyncio

import pytest

from services.common.domain import FailureKind, FinishReason, JobKind, Role, Sampling
from services.common.domain.tokens import tokens
from services.common.errors import BadSetting, EngineUnhealthy, ModelMissing
from services.worker.engine import Engine, EngineSink
from services.worker.engine.sim import Faults, create, expected_tokens
from tests.unit.engine_sim.recording import RecordingSink, job, running


async def test_local_job_gets_its_tokens() -> None:
    async with running(Role.DECODE) as (engine, sink):
        engine.submit(job(1, max_tokens=50))
        await sink.ended(1)
        assert sink.finished[1].reason is FinishReason.LENGTH
        assert sink.tokens[1] == expected_tokens(job(1).prompt, 50)
        assert engine.load().kv_blocks_free == 256
        assert engine.load().running_requests == 0


async def test_a_resumed_job_goes_on_where_it_was() -> None:
    whole = expected_tokens(job(1).prompt, 50)
    async with running(Role.DECODE) as (engine, sink):
        for stream, delivered in enumerate((1, 3, 4, 29, 49), start=1):
            engine.submit(job(stream, prompt=job(1).prompt, max_tokens=50, delivered=whole[:delivered]))
        await sink.ended(1, 2, 3, 4, 5)
        for stream, delivered in enumerate((1, 3, 4, 29, 49), start=1):
            assert sink.tokens[stream] == whole[delivered:]


async def test_one_message_per_step_for_all_streams() -> None:
    async with running(Role.DECODE) as (engine, sink):
        for stream in range(1, 17):
            engine.submit(job(stream, max_tokens=30))
        await sink.ended(*range(1, 17))
        assert sink.steps == 30
        assert sink.streams_per_step == [16] * 30


async def test_prompts_run_in_chunks_beside_decoding() -> None:
    async with running(Role.DECODE, "max-num-batched-tokens=16") as (engine, sink):
        engine.submit(job(1, max_tokens=100))
        await sink.until(lambda: len(sink.tokens[1]) > 0)
        began = len(sink.tokens[1])
        engine.submit(job(2, prompt_tokens=150, max_tokens=1))
        await sink.ended(2)
        assert len(sink.tokens[1]) - began == pytest.approx(150 / 15, abs=1)


async def test_more_jobs_than_slots_wait_by_priority() -> None:
    async with running(Role.DECODE, "max-num-seqs=2") as (engine, sink):
        order: list[int] = []
        for stream, priority in ((1, 5), (2, 5), (3, 5), (4, 0)):
            engine.submit(job(stream, max_tokens=5, priority=priority))
        assert engine.load().waiting_requests == 4
        assert engine.load().queued_prefill_tokens == 40
        await sink.ended(1, 2, 3, 4)
        order = list(sink.finished)
        assert order.index(4) < order.index(3)


async def test_too_little_kv_preempts_and_every_stream_still_ends_right() -> None:
    async with running(Role.DECODE, "kv-blocks=40", "max-model-len=160") as (engine, sink):
        jobs = [job(stream, prompt_tokens=10 + stream, max_tokens=100) for stream in range(1, 11)]
        for each in jobs:
            engine.submit(each)
        await sink.ended(*range(1, 11))
        for each in jobs:
            assert sink.tokens[each.stream] == expected_tokens(each.prompt, 100)
        assert engine.load().kv_blocks_free == 40


async def test_a_known_prefix_is_not_computed_again() -> None:
    async with running(Role.DECODE) as (engine, sink):
        engine.submit(job(1, prompt_tokens=20))
        await sink.ended(1)
        engine.submit(job(2, prompt=job(1, prompt_tokens=20).prompt))
        await sink.ended(2)
        assert (sink.finished[1].cached_tokens, sink.finished[2].cached_tokens) == (0, 16)
        stored = [name for change in sink.kv_changes for name in change.stored_block_hashes]
        assert len(stored) == len(set(stored)) == (20 + 20 - 1) // 4


async def test_abort_frees_at_once_and_says_nothing_more() -> None:
    async with running(Role.DECODE) as (engine, sink):
        for stream in range(1, 21):
            engine.submit(job(stream, max_tokens=400))
        await sink.until(lambda: len(sink.tokens[1]) > 5)
        engine.abort([*range(1, 20), 99])
        got = {stream: len(sink.tokens[stream]) for stream in range(1, 20)}
        assert engine.load().running_requests + engine.load().waiting_requests == 1
        await sink.ended(20)
        assert {stream: len(sink.tokens[stream]) for stream in range(1, 20)} == got
        assert list(sink.finished) == [20]
        assert engine.load().kv_blocks_free == 256


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"prompt": tokens()}, FailureKind.INVALID),
        ({"prompt_tokens": 512}, FailureKind.INVALID),
        ({"max_tokens": 3, "delivered": tokens([1, 2, 3])}, FailureKind.INVALID),
        ({"kind": JobKind.PREFILL}, FailureKind.ENGINE),
        ({"kind": JobKind.ADOPT}, FailureKind.HANDOFF),
    ],
)
async def test_a_job_that_cannot_run_fails(fields: dict[str, object], kind: FailureKind) -> None:
    async with running(Role.DECODE, "role-is-fixed=true") as (engine, sink):
        engine.submit(job(1, **fields))  # type: ignore[arg-type]
        await sink.ended(1)
        assert sink.failed[1].kind is kind


async def test_nothing_is_said_of_a_job_that_was_aborted_before_it_failed() -> None:
    async with running(Role.DECODE) as (engine, sink):
        engine.submit(job(1, prompt=tokens()))
        engine.abort([1])
        engine.submit(job(2))
        await sink.ended(2)
        assert not sink.failed


async def test_a_full_queue_fails_new_jobs() -> None:
    async with running(Role.DECODE, "max-num-seqs=1", "max-waiting-requests=2") as (engine, sink):
        for stream in (1, 2, 3):
            engine.submit(job(stream))
        await sink.ended(3)
        assert sink.failed[3].kind is FailureKind.FULL


async def test_an_answer_ends_at_the_context() -> None:
    async with running(Role.DECODE) as (engine, sink):
        engine.submit(job(1, prompt_tokens=500, max_tokens=100))
        await sink.ended(1)
        assert (len(sink.tokens[1]), sink.finished[1].reason) == (12, FinishReason.LENGTH)


async def test_check_passes_beside_traffic_and_reports_nothing() -> None:
    async with running(Role.PREFILL, "mean-output-tokens=1", "eos-token-id=7") as (engine, sink):
        engine.submit(job(1, sampling=Sampling(max_tokens=300, ignore_eos=True)))
        await engine.check()
        await sink.ended(1)
        assert set(sink.tokens) == {1}


async def test_a_stuck_or_dead_engine_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.worker.engine.sim.engine.CHECK_TIMEOUT_S", 0.05)
    async with running(Role.DECODE) as (engine, sink):
        engine.set_faults(Faults(hang=True))
        with pytest.raises(EngineUnhealthy, match="no answer"):
            await engine.check()
        engine.set_faults(Faults(die_after_steps=3))
        engine.submit(job(1))
        await sink.until(lambda: bool(sink.death))
        assert len(sink.tokens[1]) == 3
        with pytest.raises(EngineUnhealthy, match="does not run"):
            await engine.check()


async def test_an_idle_engine_does_not_step() -> None:
    async with running(Role.BOTH) as (engine, sink):
        engine.submit(job(1))
        await sink.ended(1)
        before = engine.stats()["engine_steps"]
        await asyncio.sleep(0.05)
        assert engine.stats()["engine_steps"] == before


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("step-sm=4", "nearest is 'step-ms'"),
        ("step-ms=fast", "step-ms=fast"),
        ("step-ms=-1", "negative"),
        ("refuse-pulls=maybe", "true or false"),
        ("kv-blocks=4", "max-model-len"),
        ("profile=tpu", "h100-8b"),
        ("max-num-seqs=0", "at least 1"),
    ],
)
def test_bad_arguments_are_named(argument: str, words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        create("sim", "sim", Role.DECODE, (argument,))


def test_arguments_of_real_engines_are_accepted() -> None:
    engine = create(
        "sim", "sim", Role.DECODE, ("max_num_seqs=8", "--quantization=fp8", "no-enable-prefix-caching")
    )
    assert engine.capacity.max_running_requests == 8


def test_a_model_directory_that_is_not_there() -> None:
    with pytest.raises(ModelMissing, match="/no/such/model"):
        create("/no/such/model", "sim", Role.DECODE, ())


def test_fingerprints_tell_block_sizes_apart() -> None:
    mine, theirs = (create("sim", "sim", Role.BOTH, (f"block-size={n}",)).fingerprint for n in (16, 32))
    assert mine.differences(theirs) == ["block_size_tokens: 16 != 32"]


def test_sink_is_an_engine_sink() -> None:
    sink: EngineSink = RecordingSink()
    engine: Engine = create("sim", "sim", Role.BOTH, ())
    assert sink is not None
    assert engine is not None
