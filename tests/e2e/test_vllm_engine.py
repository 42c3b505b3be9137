"""Real vLLM on the CPU: prefill engine, decode engine, and vLLM's own `LLM` as the reference."""

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.common.domain import (
    FailureKind,
    FinishReason,
    HandoffAdopted,
    HandoffReleased,
    JobFailed,
    JobFinished,
    JobKind,
    Role,
    Sampling,
)
from services.common.domain.tokens import tokens
from services.worker.engine.vllm import EngineArguments, create
from services.worker.engine.vllm.engine import VllmEngine
from tests.e2e.recorder import Bench, Recorder, ticket
from tests.e2e.references import LENGTHS, Reference, crowd, prompt_of
from tests.e2e.vllm_reference import TOKENS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

BLOCK = 128
LEASE_MS = 12_000
GREEDY = Sampling(max_tokens=TOKENS, temperature=0.0, ignore_eos=True)


async def started(
    model: Path, role: Role, core: int, *passthrough: str, adapters: dict[str, str] | None = None
) -> Bench:
    cores = sorted(os.sched_getaffinity(0))
    arguments = EngineArguments(
        dtype="float32",
        max_model_len=4096,
        max_num_batched_tokens=2048,
        kv_cache_memory_bytes=64 << 20,
        passthrough=passthrough,
        handoff_lease_ms=LEASE_MS,
    )
    own_core = str(cores[core % len(cores)])
    engine = create(str(model), "tiny", role, arguments, cores=own_core, adapters=adapters)
    assert isinstance(engine, VllmEngine)
    bench = Bench(engine, Recorder())
    await engine.start(bench.sink)
    await engine.check()
    return bench


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prefill(model: Path, reference: object) -> AsyncIterator[Bench]:
    bench = await started(model, Role.PREFILL, 0)
    yield bench
    await bench.engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decode(model: Path, prefill: Bench) -> AsyncIterator[Bench]:
    bench = await started(model, Role.DECODE, 1, "max-num-seqs=24")
    yield bench
    await bench.engine.close()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def leaves_nothing_behind(prefill: Bench, decode: Bench) -> AsyncIterator[None]:
    yield
    await prefill.idle()
    await decode.idle()
    assert prefill.engine.load().running_requests == decode.engine.load().running_requests == 0


async def hand_over(
    prefill: Bench, decode: Bench, prompt: list[int], sampling: Sampling = GREEDY
) -> list[int]:
    """A request's tokens by way of both engines."""
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt, sampling))
    stream = decode.submit(JobKind.ADOPT, prompt, sampling, delivered=offer.token_ids, handoff=ticket(offer))
    end = await decode.ended(stream)
    assert isinstance(end, JobFinished), end
    adopted = decode.of("adopted", stream)
    assert isinstance(adopted, HandoffAdopted)
    assert adopted.kv_size_bytes == offer.kv_size_bytes
    assert await prefill.released(offer.handoff_id) == HandoffReleased(offer.handoff_id, expired=False)
    return [*offer.token_ids, *decode.sink.tokens[stream]]


@pytest.mark.parametrize("length", LENGTHS)
async def test_tokens_equal_monolithic_vllm(
    prefill: Bench, decode: Bench, reference: Reference, length: int
) -> None:
    prompt = prompt_of(length)
    before = decode.engine.stats()
    assert await hand_over(prefill, decode, prompt) == reference[tuple(prompt)]
    grown = {name: value - before[name] for name, value in decode.engine.stats().items()}
    assert grown["prompt_tokens_local_compute"] == 1, "the first token only, whose KV exists nowhere else"
    assert grown["prompt_tokens_external_kv_transfer"] == length
    blocks = -(-length // BLOCK)
    assert grown["nixl_bytes"] == blocks * decode.engine.capacity.kv_block_size_bytes
    assert grown["nixl_transfers"] == 1


async def test_sixteen_at_once(prefill: Bench, decode: Bench, reference: Reference) -> None:
    results = await asyncio.gather(*(hand_over(prefill, decode, prompt) for prompt in crowd()))
    assert results == [reference[tuple(prompt)] for prompt in crowd()]


async def test_engines_change_roles_and_hand_over_in_both_directions(prefill: Bench, decode: Bench) -> None:
    """A role is what a worker is given to do: vLLM's connector goes both ways."""
    assert not prefill.engine.role_is_fixed
    assert not decode.engine.role_is_fixed
    there, back = prompt_of(600, seed=7), prompt_of(600, seed=8)
    moved = await asyncio.gather(hand_over(prefill, decode, there), hand_over(decode, prefill, back))
    for prompt, got in zip((there, back), moved, strict=True):
        stream = prefill.submit(JobKind.LOCAL, prompt, GREEDY, cache_salt="local")
        assert isinstance(await prefill.ended(stream), JobFinished)
        assert got == prefill.sink.tokens[stream]


async def test_the_tiny_model_is_worth_comparing(reference: Reference) -> None:
    assert all(len(set(ids)) > 4 for ids in reference.values())
    assert len({tuple(ids) for ids in reference.values()}) == len(reference)


async def test_a_second_handoff_of_a_prompt_moves_only_what_is_missing(prefill: Bench, decode: Bench) -> None:
    prompt = prompt_of(300, seed=1)
    first = await hand_over(prefill, decode, prompt)
    before = decode.engine.stats()["nixl_bytes"]
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt, GREEDY))
    assert offer.cached_tokens == 256
    stream = decode.submit(JobKind.ADOPT, prompt, GREEDY, delivered=offer.token_ids, handoff=ticket(offer))
    assert isinstance(await decode.ended(stream), JobFinished)
    assert [*offer.token_ids, *decode.sink.tokens[stream]] == first
    assert decode.engine.stats()["nixl_bytes"] - before == decode.engine.capacity.kv_block_size_bytes
    await prefill.released(offer.handoff_id)


async def test_local_goes_on_after_what_was_delivered(decode: Bench, reference: Reference) -> None:
    prompt = prompt_of(600)
    expected = reference[tuple(prompt)]
    stream = decode.submit(JobKind.LOCAL, prompt, GREEDY, delivered=tokens(expected[:7]), cache_salt="local")
    assert isinstance(await decode.ended(stream), JobFinished)
    assert decode.sink.tokens[stream] == expected[7:]


async def test_an_offer_is_released_once_and_its_blocks_are_free(prefill: Bench) -> None:
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt_of(700), GREEDY))
    load = prefill.engine.load()
    assert load.kv_blocks_total - load.kv_blocks_free == offer.kv_blocks == 6
    prefill.engine.release([offer.handoff_id, "unknown"])
    prefill.engine.release([offer.handoff_id])
    assert await prefill.released(offer.handoff_id) == HandoffReleased(offer.handoff_id, expired=False)
    await prefill.idle()
    prefill.engine.release([offer.handoff_id])
    await prefill.engine.check()
    assert prefill.sink.every("released").count(HandoffReleased(offer.handoff_id)) == 1


async def test_an_offer_that_nobody_settles_expires(prefill: Bench) -> None:
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt_of(200), GREEDY))
    assert LEASE_MS / 2 < offer.lease_ms <= LEASE_MS
    before = prefill.engine.stats()["nixl_num_kv_expired_reqs"]
    assert await prefill.released(offer.handoff_id) == HandoffReleased(offer.handoff_id, expired=True)
    assert prefill.engine.stats()["nixl_num_kv_expired_reqs"] == before + 1


async def test_a_ticket_that_expires_in_the_queue_fails_the_handoff(prefill: Bench, decode: Bench) -> None:
    long = Sampling(max_tokens=3_000, temperature=0.0, ignore_eos=True)
    running = [decode.submit(JobKind.LOCAL, prompt_of(20, seed=i), long) for i in range(24)]
    await decode.sink.until(lambda: decode.engine.load().running_requests == 24)
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt_of(400), GREEDY))
    late = decode.submit(
        JobKind.ADOPT, prompt_of(400), GREEDY, delivered=offer.token_ids, handoff=ticket(offer, 300)
    )
    end = await decode.ended(late)
    assert isinstance(end, JobFailed)
    assert end.kind is FailureKind.HANDOFF
    decode.engine.abort(running)
    # The decode side drops what it did not pull, so the prefill side need not wait for the lease.
    assert await prefill.released(offer.handoff_id) == HandoffReleased(offer.handoff_id, expired=False)
    await decode.idle()
    assert late not in decode.sink.tokens


async def test_a_pull_never_begins_after_the_deadline(prefill: Bench, decode: Bench) -> None:
    """The ticket runs out between two engine steps, so the worker's own check must hold."""
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt_of(400), GREEDY))
    before = decode.engine.stats()["nixl_transfers"]
    late = decode.submit(
        JobKind.ADOPT, prompt_of(400), GREEDY, delivered=offer.token_ids, handoff=ticket(offer, 1)
    )
    end = await decode.ended(late)
    assert isinstance(end, JobFailed)
    assert end.kind is FailureKind.HANDOFF
    assert decode.engine.stats()["nixl_transfers"] == before
    prefill.engine.release([offer.handoff_id])
    await prefill.released(offer.handoff_id)


@pytest.mark.parametrize(
    ("kv_tokens", "params"),
    [(399, None), (400, b"{}"), (400, b"not json"), (400, b'{"remote_block_ids": 3}')],
)
async def test_a_ticket_that_does_not_fit_fails_the_handoff_alone(
    prefill: Bench, decode: Bench, kv_tokens: int, params: bytes | None
) -> None:
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt_of(400), GREEDY))
    bad = ticket(offer)
    bad = type(bad)(bad.handoff_id, "", params or bad.connector_params, kv_tokens, bad.expires_in_ms)
    stream = decode.submit(JobKind.ADOPT, prompt_of(400), GREEDY, delivered=offer.token_ids, handoff=bad)
    end = await decode.ended(stream)
    assert isinstance(end, JobFailed)
    assert end.kind is FailureKind.HANDOFF
    prefill.engine.release([offer.handoff_id])
    await prefill.released(offer.handoff_id)
    await decode.engine.check()


async def test_abort_ends_a_stream_and_frees_its_blocks(decode: Bench) -> None:
    long = Sampling(max_tokens=3_000, temperature=0.0, ignore_eos=True)
    stream = decode.submit(JobKind.LOCAL, prompt_of(500, seed=2), long)
    await decode.sink.until(lambda: len(decode.sink.tokens[stream]) >= 3)
    assert decode.engine.load().kv_blocks_free < decode.engine.load().kv_blocks_total
    decode.engine.abort([stream, 999_999])
    seen = len(decode.sink.tokens[stream])
    await decode.idle()
    await decode.engine.check()
    assert len(decode.sink.tokens[stream]) == seen
    assert decode.of("finished", stream) is decode.of("failed", stream) is None


async def test_abort_before_adoption_frees_the_prefill_side(prefill: Bench, decode: Bench) -> None:
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt_of(900), GREEDY))
    stream = decode.submit(
        JobKind.ADOPT, prompt_of(900), GREEDY, delivered=offer.token_ids, handoff=ticket(offer)
    )
    decode.engine.abort([stream])
    assert await prefill.released(offer.handoff_id) == HandoffReleased(offer.handoff_id, expired=False)
    assert stream not in decode.sink.tokens


async def test_abort_of_a_prefill_frees_it_unless_it_is_offered(prefill: Bench) -> None:
    running = prefill.submit(JobKind.PREFILL, prompt_of(2000, seed=3), GREEDY)
    prefill.engine.abort([running])
    await prefill.engine.check()
    await prefill.idle()
    assert prefill.of("offered", running) is None
    offered = prefill.submit(JobKind.PREFILL, prompt_of(50, seed=4), GREEDY)
    offer = await prefill.offered(offered)
    prefill.engine.abort([offered])
    await prefill.engine.check()
    assert prefill.engine.load().kv_blocks_free == prefill.engine.load().kv_blocks_total - 1
    prefill.engine.release([offer.handoff_id])
    await prefill.released(offer.handoff_id)


async def test_a_prefill_whose_only_token_it_is_finishes(prefill: Bench, reference: Reference) -> None:
    prompt = prompt_of(129)
    first = reference[tuple(prompt)][0]
    one = Sampling(max_tokens=1, temperature=0.0, ignore_eos=True)
    stopped = Sampling(max_tokens=9, temperature=0.0, ignore_eos=True, stop_token_ids=(first,))
    for sampling, reason in ((one, FinishReason.LENGTH), (stopped, FinishReason.STOP)):
        stream = prefill.submit(JobKind.PREFILL, prompt, sampling)
        end = await prefill.ended(stream)
        assert isinstance(end, JobFinished)
        assert end.reason is reason
        assert prefill.sink.tokens[stream] == [first]
        assert prefill.of("offered", stream) is None


async def test_stop_tokens_wait_for_min_tokens_counting_what_was_delivered(
    decode: Bench, reference: Reference
) -> None:
    prompt = prompt_of(128)
    expected = reference[tuple(prompt)]
    stop = expected[5]
    sampling = Sampling(max_tokens=TOKENS, temperature=0.0, stop_token_ids=(stop,), min_tokens=3)
    stream = decode.submit(JobKind.LOCAL, prompt, sampling, delivered=tokens(expected[:5]))
    end = await decode.ended(stream)
    assert isinstance(end, JobFinished)
    assert end.reason is FinishReason.STOP
    assert decode.sink.tokens[stream] == [stop]


@pytest.mark.parametrize(
    ("prompt", "sampling"),
    [
        ([1, 2, 100_000], GREEDY),
        ([], GREEDY),
        (prompt_of(4096), GREEDY),
        ([1, 2], Sampling(max_tokens=0)),
        ([1, 2], Sampling(max_tokens=4, top_p=3.0)),
    ],
    ids=["unknown token", "empty", "too long", "nothing to generate", "top_p"],
)
async def test_a_bad_job_is_reported_as_invalid(decode: Bench, prompt: list[int], sampling: Sampling) -> None:
    end = await decode.ended(decode.submit(JobKind.LOCAL, prompt, sampling))
    assert isinstance(end, JobFailed)
    assert end.kind is FailureKind.INVALID
    assert end.message
    assert "\n" not in end.message


async def test_prefix_cache_changes_are_reported(prefill: Bench) -> None:
    prompt = prompt_of(260, seed=5)
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt, GREEDY))

    def stored() -> list[int]:
        return [i for change in prefill.sink.every("kv_changes") for i in change.token_ids]  # type: ignore[attr-defined]

    await prefill.sink.until(lambda: str(prompt[:256])[1:-1] in str(stored()))
    prefill.engine.release([offer.handoff_id])
    await prefill.released(offer.handoff_id)


async def test_idle_engines_do_not_spin(prefill: Bench, decode: Bench) -> None:
    def cpu_seconds(pid: int) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    await prefill.idle()
    pids = [*prefill.engine.process_ids, *decode.engine.process_ids, os.getpid()]
    before = [cpu_seconds(pid) for pid in pids]
    await asyncio.sleep(3.0)
    used = [cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
    assert len(used) == 3
    assert max(used) < 0.6, "a spinning NIXL progress thread uses 95 % of a core"


async def test_engines_follow_the_worker_before_they_load_anything(
    prefill: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What vLLM starts is a process of ours, in which something else takes the place of vLLM's engine."""
    from vllm.v1.engine.utils import CoreEngineProcManager
    from vllm.v1.executor import Executor

    from services.worker.engine.vllm import engine_process

    ours, theirs = multiprocessing.Pipe()

    def instead(**_: object) -> None:
        theirs.send([thread.name for thread in threading.enumerate()])

    assert prefill.engine._core is not None
    config = prefill.engine._core.config
    monkeypatch.setattr(engine_process, "_run", instead)
    manager = CoreEngineProcManager(1, 0, 0, config, True, "ipc://", Executor.get_class(config), False)
    try:
        assert ours.poll(30.0), "it has not run"
        assert "mesh-parent-watch" in ours.recv()
    finally:
        manager.shutdown()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_start_that_is_given_up_does_not_wait_for_the_model(model: Path) -> None:
    others = set(multiprocessing.active_children())
    starting = asyncio.create_task(started(model, Role.PREFILL, 0))
    while not (loading := set(multiprocessing.active_children()) - others):
        await asyncio.sleep(0.02)
    for process in loading:
        os.kill(process.pid or 0, signal.SIGSTOP)  # as one does that loads for very long
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not any(process.is_alive() for process in loading)
    assert set(multiprocessing.active_children()) <= others
    gc.collect()  # vLLM leaves the sockets of a start that fails to the collector, which warns of them


async def test_a_killed_engine_is_reported_and_its_handoff_fails(
    model: Path, decode: Bench, reference: Reference
) -> None:
    victim = await started(model, Role.PREFILL, 0)
    prompt = prompt_of(600)
    offer = await victim.offered(victim.submit(JobKind.PREFILL, prompt, GREEDY))
    [pid] = victim.engine.process_ids
    os.kill(pid, signal.SIGKILL)
    await victim.sink.until(lambda: victim.sink.deaths)
    after = victim.submit(JobKind.PREFILL, prompt, GREEDY)
    end = await victim.ended(after)
    assert isinstance(end, JobFailed)
    assert end.kind is FailureKind.ENGINE
    stream = decode.submit(
        JobKind.ADOPT, prompt, GREEDY, delivered=offer.token_ids, handoff=ticket(offer), cache_salt="victim"
    )
    end = await decode.ended(stream)
    assert isinstance(end, JobFailed)
    assert end.kind is FailureKind.HANDOFF
    again = decode.submit(JobKind.LOCAL, prompt, GREEDY, delivered=offer.token_ids, cache_salt="victim")
    assert isinstance(await decode.ended(again), JobFinished)
    assert [*offer.token_ids, *decode.sink.tokens[again]] == reference[tuple(prompt)]
    await victim.engine.close()
    assert len(victim.sink.deaths) == 1
