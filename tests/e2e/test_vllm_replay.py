"""Requests whose sampling tells output from prompt, moved between engines: the undisturbed run's tokens."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_asyncio

from services.common.domain import (
    FailureKind,
    FinishReason,
    HandoffAdopted,
    JobFailed,
    JobFinished,
    JobKind,
    Role,
    Sampling,
)
from services.common.domain.tokens import tokens
from tests.e2e.recorder import Bench, ticket
from tests.e2e.references import prompt_of
from tests.e2e.test_vllm_engine import started

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

TOKENS = 32
MOVED_AFTER = (1, 7, 20)
SAMPLINGS = {
    "seed": Sampling(max_tokens=TOKENS, temperature=0.8, seed=11, ignore_eos=True),
    "seed and filters": Sampling(
        max_tokens=TOKENS, temperature=0.8, seed=12, top_p=0.95, top_k=50, min_p=0.001, ignore_eos=True
    ),
    "presence and frequency": Sampling(
        max_tokens=TOKENS, temperature=0.0, presence_penalty=1.5, frequency_penalty=1.5, ignore_eos=True
    ),
    "repetition": Sampling(max_tokens=TOKENS, temperature=0.0, repetition_penalty=1.8, ignore_eos=True),
}
THINK, ANSWER = 259, 260
THINKING = 'reasoning-config={"reasoning_start_str": "<|user|>", "reasoning_end_str": "<|assistant|>"}'
"""Two of the tiny model's special tokens as the marks around reasoning, and their ids."""
LIMITED = Sampling(max_tokens=TOKENS, temperature=0.0, ignore_eos=True, thinking_tokens_max=6)
GREEDY = Sampling(max_tokens=TOKENS, temperature=0.0, ignore_eos=True)
each_sampling = pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=list(SAMPLINGS))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prefill(model: Path) -> AsyncIterator[Bench]:
    bench = await started(model, Role.PREFILL, 0, THINKING)
    yield bench
    await bench.engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decode(model: Path, prefill: Bench) -> AsyncIterator[Bench]:
    bench = await started(model, Role.DECODE, 1, THINKING)
    yield bench
    await bench.engine.close()


async def generate(bench: Bench, prompt: list[int], sampling: Sampling, delivered: list[int]) -> list[int]:
    """What a LOCAL job reports after the delivered tokens."""
    stream = bench.submit(JobKind.LOCAL, prompt, sampling, delivered=tokens(delivered))
    end = await bench.ended(stream)
    assert isinstance(end, JobFinished), end
    assert end.reason is FinishReason.LENGTH
    return bench.sink.tokens[stream]


@each_sampling
async def test_a_resumed_request_goes_on_as_if_undisturbed(decode: Bench, sampling: Sampling) -> None:
    """Resumed among others, that are not touched by it."""
    prompt, other = prompt_of(150, seed=21), prompt_of(90, seed=22)
    undisturbed = await generate(decode, prompt, sampling, [])
    greedy = await generate(decode, other, GREEDY, [])
    assert len(undisturbed) == TOKENS
    resumed = await asyncio.gather(
        generate(decode, other, GREEDY, []),
        *(generate(decode, prompt, sampling, undisturbed[:n]) for n in MOVED_AFTER),
        generate(decode, other, GREEDY, greedy[:5]),
    )
    assert resumed[0] == greedy
    assert resumed[-1] == greedy[5:]
    assert resumed[1:-1] == [undisturbed[n:] for n in MOVED_AFTER]


@each_sampling
@pytest.mark.parametrize("length", [127, 128, 129, 300])
async def test_an_adopted_request_goes_on_as_if_undisturbed(
    prefill: Bench, decode: Bench, sampling: Sampling, length: int
) -> None:
    prompt = prompt_of(length, seed=23)
    undisturbed = await generate(prefill, prompt, sampling, [])
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt, sampling))
    assert list(offer.token_ids) == undisturbed[:1]
    before = decode.engine.stats()
    stream = decode.submit(
        JobKind.ADOPT,
        prompt,
        sampling,
        delivered=offer.token_ids,
        handoff=ticket(offer),
        cache_salt=repr(sampling),
    )
    assert isinstance(await decode.ended(stream), JobFinished)
    assert decode.sink.tokens[stream] == undisturbed[1:]
    adopted = decode.of("adopted", stream)
    assert isinstance(adopted, HandoffAdopted)
    assert adopted.kv_size_bytes == offer.kv_size_bytes
    grown = {name: value - before[name] for name, value in decode.engine.stats().items()}
    assert grown["prompt_tokens_local_compute"] <= 1, "the prompt's KV came from the prefill engine"
    await prefill.released(offer.handoff_id)


async def test_a_budget_of_reasoning_is_kept_wherever_it_runs(prefill: Bench, decode: Bench) -> None:
    prompt = [*prompt_of(150, seed=41), THINK]
    assert prefill.engine.limits_thinking
    free = await generate(decode, prompt, GREEDY, [])
    kept = await generate(decode, prompt, LIMITED, [])
    assert ANSWER not in free[:7]
    assert (kept[:6], kept[6]) == (free[:6], ANSWER)
    for moved_after in (1, 5, 6, 7, 20):
        assert await generate(prefill, prompt, LIMITED, kept[:moved_after]) == kept[moved_after:]
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt, LIMITED))
    stream = decode.submit(
        JobKind.ADOPT, prompt, LIMITED, delivered=offer.token_ids, handoff=ticket(offer), cache_salt="budget"
    )
    assert isinstance(await decode.ended(stream), JobFinished)
    assert [*offer.token_ids, *decode.sink.tokens[stream]] == kept
    await prefill.released(offer.handoff_id)


async def test_delivered_tokens_need_not_be_the_engines_own_choice(decode: Bench) -> None:
    """Another build of the engine may have chosen them. The repetition penalty counts prompt and output
    alike, so the longer prompt is a reference."""
    sampling, prompt, delivered = SAMPLINGS["repetition"], prompt_of(150, seed=25), prompt_of(9, seed=26)
    assert (await generate(decode, prompt, sampling, []))[:9] != delivered
    left = dataclasses.replace(sampling, max_tokens=TOKENS - len(delivered))
    expected = await generate(decode, prompt + delivered, left, [])
    assert await generate(decode, prompt, sampling, delivered) == expected


@each_sampling
async def test_the_samplings_need_the_replay(decode: Bench, sampling: Sampling) -> None:
    """Run as a longer prompt, the delivered tokens would change what follows."""
    prompt = prompt_of(150, seed=21)
    undisturbed = await generate(decode, prompt, sampling, [])
    assert not sampling.continues_exactly
    assert len(set(undisturbed)) > 4
    if sampling.repetition_penalty is not None:
        return  # it counts the prompt's tokens like the output's
    left = dataclasses.replace(sampling, max_tokens=TOKENS - 7)
    assert await generate(decode, prompt + undisturbed[:7], left, []) != undisturbed[7:]


async def test_a_prompt_in_chunks_keeps_its_seed(prefill: Bench, decode: Bench) -> None:
    """Longer than a step's token budget: what is sampled after a first chunk is thrown away."""
    prompt, sampling = prompt_of(3_000, seed=24), SAMPLINGS["seed"]
    undisturbed = await generate(decode, prompt, sampling, [])
    assert await generate(prefill, prompt, sampling, undisturbed[:7]) == undisturbed[7:]


@pytest.mark.parametrize(
    ("kind", "delivered", "why"),
    [
        (JobKind.PREFILL, [1, 2], "prefill"),
        (JobKind.LOCAL, [1, 100_000], "100000"),
        (JobKind.LOCAL, [1] * TOKENS, "all tokens"),
    ],
)
async def test_what_cannot_be_exact_is_refused(
    decode: Bench, kind: JobKind, delivered: list[int], why: str
) -> None:
    stream = decode.submit(kind, prompt_of(20), SAMPLINGS["seed"], delivered=tokens(delivered))
    end = await decode.ended(stream)
    assert isinstance(end, JobFailed)
    assert end.kind is FailureKind.INVALID
    assert why in end.message
    await decode.engine.check()


async def test_the_processor_follows_rows_that_move_and_leaves_others_alone() -> None:
    import torch
    from vllm import SamplingParams
    from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality

    from services.worker.engine.vllm.replay import ReplayProcessor
    from services.worker.engine.vllm.sampling import DELIVERED

    processor = ReplayProcessor(SimpleNamespace(), torch.device("cpu"), False)
    output: list[int] = []
    first = SamplingParams(extra_args={DELIVERED: [3, 1]})
    added = [(0, first, [9], output), (1, SamplingParams(), [9], [])]
    processor.update_state(BatchUpdate(batch_size=2, removed=[], added=added, moved=[]))
    assert _choices(processor) == [[3], [0, 1, 2, 3, 4]]
    output.append(-1)  # vLLM's placeholder for a token that it has not copied back yet
    moved = [(0, 1, MoveDirectionality.SWAP)]
    processor.update_state(BatchUpdate(batch_size=2, removed=[], added=[], moved=moved))
    assert _choices(processor) == [[0, 1, 2, 3, 4], [1]]
    output.append(-1)
    processor.update_state(None)
    assert _choices(processor) == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]


def _choices(processor: object) -> list[list[int]]:
    import torch

    logits = processor.apply(torch.zeros(2, 5))  # type: ignore[attr-defined]
    return [[i for i, value in enumerate(row) if value > float("-inf")] for row in logits.tolist()]


async def test_the_second_model_runners_processor_forces_by_the_place_in_the_answer() -> None:
    import numpy
    import torch
    from vllm import SamplingParams

    from services.worker.engine.vllm.replay_v2 import ReplayProcessorV2
    from services.worker.engine.vllm.sampling import DELIVERED

    prompt_len = SimpleNamespace(np=numpy.array([0, 7, 4, 4]))
    processor = ReplayProcessorV2(SimpleNamespace(), SimpleNamespace(prompt_len=prompt_len))
    assert processor.add_request(1, SamplingParams(extra_args={DELIVERED: [3, 1]}))
    assert processor.add_request(3, SamplingParams(extra_args={DELIVERED: [2]}))
    assert not processor.add_request(2, SamplingParams())

    def choices(slots: list[int], lengths: list[int]) -> list[list[int]]:
        batch = SimpleNamespace(
            idx_mapping_np=numpy.array(slots), seq_lens_upper_bound_np=numpy.array([*lengths, 0])
        )
        logits = processor.apply(torch.zeros(len(slots), 5), batch)
        return [[i for i, value in enumerate(row) if value > float("-inf")] for row in logits.tolist()]

    all_of_them = [0, 1, 2, 3, 4]
    assert choices([1, 2, 3], [7, 4, 4]) == [[3], all_of_them, [2]]
    assert choices([3, 1], [5, 8]) == [all_of_them, [1]]
    assert choices([1], [9]) == [all_of_them]
    assert choices([1], [5]) == [all_of_them], "a part of the prompt"
    assert not processor.add_request(3, SamplingParams())
    assert choices([3], [4]) == [all_of_them], "the slot is another request's"
