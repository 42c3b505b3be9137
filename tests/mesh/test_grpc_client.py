"""The typed client on a whole mesh, and what it does when its gateway is killed."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pdmesh.client import AsyncClient, AsyncStream, Client, RetryPolicy, Sampling
from tests.mesh import model
from tests.mesh.harness import Mesh
from tests.tidy.source import ROOT

STREAMS = 16
TOKENS = 150
QUESTION = "a prompt of bytes, long enough for the disaggregated path, " * 4
PROMPT = list(QUESTION.encode())


def test_the_synchronous_client_asks(mesh: Mesh, model_dir: Path) -> None:
    with Client(mesh.facts["grpc"]) as client:
        (name,) = client.models()
        assert name == model_dir.name
        answer = client.generate(name, PROMPT, Sampling(max_tokens=20)).whole()
        assert client.detokenize(name, answer.choices[0].token_ids) == model.expected_text(
            model_dir, PROMPT, 20
        )
        assert answer.receipts[0].prefill_worker.startswith("prefill-")
        chat = client.chat(name, "hello", Sampling(max_tokens=9)).whole()
        assert len(chat.text.split()) == 9


async def test_streams_outlive_their_gateway(own_mesh: Mesh, model_dir: Path) -> None:
    """The gateway is killed in the middle of 16 streams; every text is that of an undisturbed run."""
    name, sampling = model_dir.name, Sampling(max_tokens=TOKENS)
    prompts = [f"{QUESTION} {number}" for number in range(STREAMS)]
    with second_gateway(own_mesh, model_dir) as other:
        gateways = [own_mesh.facts["grpc"], other]
        async with AsyncClient(gateways, retries=RetryPolicy(budget_max=100)) as client:
            undisturbed = [
                model.expected_text(model_dir, await client.tokenize(name, prompt), TOKENS)
                for prompt in prompts
            ]
            streams = [client.complete(name, prompt, sampling) for prompt in prompts]
            reading = [asyncio.create_task(stream.whole()) for stream in streams]
            while any(came(stream) < TOKENS // 5 for stream in streams):
                await asyncio.sleep(0.01)
            own_mesh.send("gateway")
            assert any(came(stream) < TOKENS for stream in streams)
            answers = await asyncio.gather(*reading)
    assert [answer.text for answer in answers] == undisturbed
    assert {answer.usage.completion_tokens for answer in answers} == {TOKENS}


def came(stream: AsyncStream) -> int:
    """Tokens of a stream so far."""
    return sum(len(choice.token_ids) for choice in stream.choices)


@contextmanager
def second_gateway(mesh: Mesh, model_dir: Path) -> Iterator[str]:
    """Another gateway of the same mesh; the address of its gRPC API."""
    arguments = ["serve", "gateway", "--model", str(model_dir), "--router", mesh.facts["urls"]["router"]]
    arguments += ["--mesh-secret-file", mesh.facts["secret_file"]]
    command = [sys.executable, "-m", "services.cli", *arguments, "--port", "0", "--log-level", "warning"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["ready"]["grpc"]
        finally:
            process.kill()
