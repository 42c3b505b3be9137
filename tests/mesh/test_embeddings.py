"""A mesh that serves a pooling model, with real processes that die."""

import asyncio
from pathlib import Path

import openai
import pytest

from services.cli.operator.client import OperatorClient
from services.common.domain.tokens import tokens
from services.worker.engine.sim import embedding_model, expected_vector
from tests.mesh.harness import Mesh

SLOW = ("--engine", "sim", "--engine-arg", "runner=pooling", "--engine-arg", "step-ms=250")
"""Two texts a step and worker: forty take long enough to lose a worker meanwhile."""


async def running(operator: OperatorClient, worker_id: str) -> int:
    """How many texts a worker has."""
    fleet = await operator.fleet()
    return next(w.running_requests for w in fleet.workers if w.worker_id == worker_id)


async def test_vectors_are_right_though_a_worker_dies(model_dir: Path, tmp_path: Path) -> None:
    gives = embedding_model(str(model_dir))
    texts = [list(b"a text of some length, number %d" % n) for n in range(40)]
    with Mesh(model_dir, tmp_path, *SLOW, "--max-num-seqs", "2") as mesh:
        async with openai.AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key="none", max_retries=0) as client:
            wishes = client.embeddings.create(
                model=model_dir.name, input=texts, extra_body={"pdmesh": {"receipt": True}}
            )
            asking = asyncio.create_task(wishes)
            async with OperatorClient(mesh.facts["urls"]["router"], 5_000, mesh.security) as operator:
                while await running(operator, "decode-1") < 2:
                    await asyncio.sleep(0.02)
            mesh.send("decode-1")
            made = await asking
            assert [entry.embedding for entry in made.data] == [
                expected_vector(tokens(text), gives).tolist() for text in texts
            ]
            assert made.usage.prompt_tokens == sum(map(len, texts))
            assert 0 < sum(receipt["retries"] for receipt in made.model_extra["pdmesh"]["choices"]) <= 2
            with pytest.raises(openai.BadRequestError, match="/v1/embeddings"):
                await client.completions.create(model=model_dir.name, prompt="text", max_tokens=5)
