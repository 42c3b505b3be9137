"""Prefill workers that write KV themselves (`--handoff-mode push`): the same tokens, nothing left behind."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.common.domain import HandoffAdopted, HandoffReleased, JobFinished, JobKind, Role
from tests.e2e.recorder import Bench, ticket
from tests.e2e.references import Reference, crowd, prompt_of
from tests.e2e.test_vllm_engine import GREEDY, hand_over, started

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

PUSH = "handoff-mode=push"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prefill(model: Path, reference: object) -> AsyncIterator[Bench]:
    bench = await started(model, Role.PREFILL, 0, PUSH)
    yield bench
    await bench.engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decode(model: Path, prefill: Bench) -> AsyncIterator[Bench]:
    bench = await started(model, Role.DECODE, 1, PUSH, "max-num-seqs=24")
    yield bench
    await bench.engine.close()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def leaves_nothing_behind(prefill: Bench, decode: Bench) -> AsyncIterator[None]:
    yield
    await prefill.idle()
    await decode.idle()


@pytest.mark.parametrize("length", [127, 128, 129, 2000])
async def test_tokens_equal_monolithic_vllm(
    prefill: Bench, decode: Bench, reference: Reference, length: int
) -> None:
    prompt = prompt_of(length)
    assert await hand_over(prefill, decode, prompt) == reference[tuple(prompt)]
    assert "push" in decode.engine.fingerprint.connector


async def test_sixteen_at_once(prefill: Bench, decode: Bench, reference: Reference) -> None:
    results = await asyncio.gather(*(hand_over(prefill, decode, prompt) for prompt in crowd()))
    assert results == [reference[tuple(prompt)] for prompt in crowd()]


async def test_what_the_decode_worker_has_already_is_freed_at_once(prefill: Bench, decode: Bench) -> None:
    prompt = prompt_of(384, seed=9)
    first = await hand_over(prefill, decode, prompt)
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt, GREEDY))
    stream = decode.submit(JobKind.ADOPT, prompt, GREEDY, delivered=offer.token_ids, handoff=ticket(offer))
    assert isinstance(await decode.ended(stream), JobFinished)
    adopted = decode.of("adopted", stream)
    assert isinstance(adopted, HandoffAdopted)
    assert await prefill.released(offer.handoff_id) == HandoffReleased(offer.handoff_id, expired=False)
    assert [*offer.token_ids, *decode.sink.tokens[stream]] == first


async def test_abort_before_adoption_frees_the_prefill_side(prefill: Bench, decode: Bench) -> None:
    prompt = prompt_of(600, seed=10)
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt, GREEDY))
    stream = decode.submit(JobKind.ADOPT, prompt, GREEDY, delivered=offer.token_ids, handoff=ticket(offer))
    decode.engine.abort([stream])
    assert await prefill.released(offer.handoff_id) == HandoffReleased(offer.handoff_id, expired=False)


async def test_a_released_offer_is_never_written(prefill: Bench, decode: Bench) -> None:
    prompt = prompt_of(600, seed=11)
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt, GREEDY))
    prefill.engine.release([offer.handoff_id])
    await prefill.released(offer.handoff_id)
    await prefill.idle()
