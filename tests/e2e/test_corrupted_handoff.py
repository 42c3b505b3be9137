"""Real vLLM and the demo model: a handoff that loses one block of KV gives a wrong answer.

So a right answer to a question about the far end of a prompt says that its KV arrived whole.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from services.common.domain import HandoffOffered, JobFinished, JobKind, Role, Sampling
from tests.e2e.demo_questions import DEMO_MODEL, Question, question
from tests.e2e.recorder import Bench, ticket
from tests.e2e.test_vllm_engine import BLOCK, started

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

PROMPT_TOKENS = 500


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prefill() -> AsyncIterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        # Lets the test, and nobody else, send a function of its own to the engine process.
        patch.setenv("VLLM_ALLOW_INSECURE_SERIALIZATION", "1")
        bench = await started(DEMO_MODEL, Role.PREFILL, 0)
        yield bench
        await bench.engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decode(prefill: Bench) -> AsyncIterator[Bench]:
    bench = await started(DEMO_MODEL, Role.DECODE, 1)
    yield bench
    await bench.engine.close()


def erase_block(worker: Any, block: int) -> int:
    """Runs in the engine process: set one KV block of all layers to zero; returns the number of layers."""
    runner = worker.model_runner
    for cache in runner.kv_caches:
        cache.select(list(cache.shape).index(runner.kv_cache_config.num_blocks), block).zero_()
    return len(runner.kv_caches)


async def erase(prefill: Bench, offer: HandoffOffered, number: int) -> None:
    """Lose block `number` of an offer before anybody pulls it."""
    [blocks] = json.loads(offer.connector_params)["remote_block_ids"]
    assert len(blocks) == offer.kv_blocks
    core = prefill.engine._core
    assert core is not None
    [layers] = await core.client.collective_rpc_async(erase_block, args=(blocks[number],))
    assert layers == json.loads((DEMO_MODEL / "config.json").read_text())["num_hidden_layers"]


async def answer(prefill: Bench, decode: Bench, asked: Question, erased: int | None = None) -> list[int]:
    """The answer by way of both engines; nothing is taken from or left in a prefix cache of another case."""
    sampling = Sampling(max_tokens=len(asked.wanted), temperature=0.0, ignore_eos=True)
    salt, prompt = f"without {erased}", list(asked.ids)
    offer = await prefill.offered(prefill.submit(JobKind.PREFILL, prompt, sampling, cache_salt=salt))
    if erased is not None:
        await erase(prefill, offer, erased)
    stream = decode.submit(
        JobKind.ADOPT,
        prompt,
        sampling,
        delivered=offer.token_ids,
        handoff=ticket(offer),
        cache_salt=salt,
    )
    assert isinstance(await decode.ended(stream), JobFinished)
    return [*offer.token_ids, *decode.sink.tokens[stream]]


def asked_about(block: int) -> Question:
    """A look-up whose row lies within the prompt's block of that number."""
    for index in range(100):
        asked = question("lookup", PROMPT_TOKENS, index)
        row = asked.position_of(asked.prompt.answer)
        if row.start // BLOCK == row.stop // BLOCK == block:
            return asked
    raise AssertionError(f"no row within block {block}")


@pytest.mark.parametrize("block", [0, 1, 2])
async def test_a_lost_block_makes_the_answer_that_lies_in_it_wrong(
    prefill: Bench, decode: Bench, block: int
) -> None:
    asked = asked_about(block)
    assert asked.is_answered_by(await answer(prefill, decode, asked))
    assert not asked.is_answered_by(await answer(prefill, decode, asked, erased=block))
