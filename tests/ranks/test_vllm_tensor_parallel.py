"""Two ranks on both sides: they start on cores of their own, and each takes over its own half of the KV.

Requests come one after another: on two cores four ranks would starve each other.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.common.domain import Role
from services.worker.engine.vllm import EngineArguments, create
from services.worker.engine.vllm.engine import VllmEngine
from tests.e2e.recorder import Bench, Recorder
from tests.e2e.references import Reference, prompt_of
from tests.e2e.test_vllm_engine import BLOCK, hand_over

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

RANKS = 2


async def started(model: Path, role: Role) -> Bench:
    arguments = EngineArguments(
        dtype="float32",
        max_model_len=4096,
        max_num_batched_tokens=2048,
        kv_cache_memory_bytes=64 << 20,
        tensor_parallel_size=RANKS,
    )
    engine = create(str(model), "tiny", role, arguments)
    assert isinstance(engine, VllmEngine)
    bench = Bench(engine, Recorder())
    await engine.start(bench.sink)
    await engine.check()
    return bench


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prefill(model: Path, reference: object) -> AsyncIterator[Bench]:
    bench = await started(model, Role.PREFILL)
    yield bench
    await bench.engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decode(model: Path, prefill: Bench) -> AsyncIterator[Bench]:
    bench = await started(model, Role.DECODE)
    yield bench
    await bench.engine.close()


@pytest.mark.parametrize("length", [127, 128, 600])
async def test_tokens_equal_one_rank_and_each_rank_pulls_its_half(
    prefill: Bench, decode: Bench, reference: Reference, length: int
) -> None:
    prompt, before = prompt_of(length), decode.engine.stats()
    assert await hand_over(prefill, decode, prompt) == reference[tuple(prompt)]
    grown = {name: value - before[name] for name, value in decode.engine.stats().items()}
    assert grown["nixl_transfers"] == RANKS
    assert grown["nixl_bytes"] == -(-length // BLOCK) * decode.engine.capacity.kv_block_size_bytes
    assert grown["prompt_tokens_local_compute"] == 1
