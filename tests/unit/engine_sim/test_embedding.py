"""The simulated pooling model: vectors that can be checked, and nothing else."""

import json
import math
from pathlib import Path

import pytest

from services.common.domain import EmbeddingAsk, FailureKind, Job, JobKind, Role, Sampling
from services.common.domain.tokens import tokens
from services.common.errors import BadSetting
from services.worker.engine.sim import create, embedding_model, expected_vector
from tests.unit.engine_sim.recording import job, running

POOLING = "runner=pooling"


def wish(stream: int, length: int = 10, dimensions: int = 0) -> Job:
    prompt = tokens(range(stream * 1_000, stream * 1_000 + length))
    ask = EmbeddingAsk(dimensions)
    return Job(stream, JobKind.EMBED, f"r{stream}", prompt, Sampling(max_tokens=1), embedding=ask)


@pytest.fixture
def model(tmp_path: Path) -> str:
    config = {"hidden_size": 48, "matryoshka_dimensions": [16, 8]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return str(tmp_path)


async def test_vectors_are_a_function_of_the_text_and_have_the_length_one(model: str) -> None:
    async with running(Role.PREFILL, POOLING, model=model) as (engine, sink):
        assert engine.embedding_model == embedding_model(model)
        assert embedding_model(model).cuts == (8, 16)
        for stream, dimensions in ((1, 0), (2, 16), (3, 8), (4, 48)):
            engine.submit(wish(stream, dimensions=dimensions))
        engine.submit(wish(5, length=512))  # as long as the model holds
        await sink.ended(1, 2, 3, 4, 5)
        for stream, size in ((1, 48), (2, 16), (3, 8), (4, 48)):
            made = sink.finished[stream].vector
            assert made == expected_vector(wish(stream).prompt, embedding_model(model), size)
            assert (len(made), math.hypot(*made)) == (size, pytest.approx(1.0))
        assert not sink.tokens
        await engine.check()
        assert engine.load().kv_blocks_free == 256


async def test_an_engine_gives_vectors_or_generates(model: str) -> None:
    async with running(Role.PREFILL, POOLING, model=model) as (engine, sink):
        refused = [job(1), job(2, JobKind.PREFILL), wish(3, dimensions=9), wish(4, length=513)]
        for one in refused:
            engine.submit(one)
        await sink.ended(1, 2, 3, 4)
        assert {failed.kind for failed in sink.failed.values()} == {FailureKind.INVALID}
        assert len(sink.failed) == 4
    async with running(Role.PREFILL, model=model) as (engine, sink):
        assert engine.embedding_model is None
        engine.submit(wish(1))
        await sink.ended(1)
        assert sink.failed[1].kind is FailureKind.INVALID


def test_a_runner_that_is_none_is_named() -> None:
    with pytest.raises(BadSetting, match="auto, generate, pooling"):
        create("sim", "sim", Role.PREFILL, ("runner=poling",))
