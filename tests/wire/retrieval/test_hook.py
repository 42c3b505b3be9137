"""Passages reach the prompt, within their budget; and when they cannot, the answer says so."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pdmesh.client import AsyncClient, Retrieval
from pdmesh.retrieval.v1 import retriever_pb2 as wire
from pdmesh.retrieval.v1 import retriever_pb2_grpc
from services.common.errors import InvalidField, RetrievalFailed
from services.common.retrieval import RetrievalSettings
from services.common.rpc import RpcServer
from tests.wire.gateway.conftest import Edge, running_edge
from tests.wire.gateway.raw_http import post
from tests.wire.retrieval.conftest import DOCUMENTS

QUESTION = "What colour is the plumage of a parrot?"


async def ask(edge: Edge, retrieval: Any, **fields: Any) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of a chat."""
    edge.router.script = edge.says("Blue.")
    body = {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}],
        "retrieval": retrieval,
        **fields,
    }
    client = await edge.client()
    client.send(post("/v1/chat/completions", json.dumps(body).encode()))
    response = await client.response()
    await client.close()
    return response.status, response.headers, json.loads(response.body)


def prompt(edge: Edge) -> str:
    """The text of the newest prompt."""
    text: str = edge.tokenizer.decode(list(edge.router.jobs[-1].request.prompt), skip_special_tokens=False)
    return text


async def test_the_right_passage_stands_before_the_question(edge: Edge) -> None:
    status, headers, body = await ask(edge, {"passages_max": 1})
    assert (status, headers["x-pdmesh-retrieval"]) == (200, "ok")
    told = prompt(edge)
    assert f"[1] parrot.md\n{DOCUMENTS['parrot.md']}" in told
    assert told.index("Be brief.") < told.index("[1] parrot.md") < told.index(QUESTION)
    assert DOCUMENTS["tax.md"] not in told
    assert body["choices"][0]["message"]["content"] == "Blue."
    report = body["retrieval"]
    assert (report["status"], [p["source"] for p in report["passages"]]) == ("ok", ["parrot.md"])
    assert body["usage"]["prompt_tokens"] > report["prompt_tokens"] > 0


async def test_a_call_that_does_not_ask_gets_nothing(edge: Edge) -> None:
    _, headers, body = await ask(edge, None)
    assert "x-pdmesh-retrieval" not in headers
    assert "retrieval" not in body
    assert "parrot.md" not in prompt(edge)


async def test_the_budget_of_tokens_holds(edge: Edge) -> None:
    tokens = len(edge.ids(DOCUMENTS["llama.md"]))
    _, _, body = await ask(edge, {"query": "llamas of the Andes", "tokens_max": tokens})
    assert [p["source"] for p in body["retrieval"]["passages"]] == ["llama.md"]
    _, headers, body = await ask(edge, {"query": "llamas of the Andes", "tokens_max": 3})
    assert (headers["x-pdmesh-retrieval"], body["retrieval"]["passages"]) == ("empty", [])


async def test_another_collection_is_empty(edge: Edge) -> None:
    _, headers, _ = await ask(edge, {"collection": "other", "required": True})
    assert headers["x-pdmesh-retrieval"] == "empty"


async def test_a_stream_and_a_completion_have_it_too(edge: Edge) -> None:
    edge.router.script = edge.says(" blue")
    client = await edge.client()
    body = {"model": "tiny", "prompt": QUESTION, "retrieval": {"passages_max": 1}, "stream": True}
    client.send(post("/v1/completions", json.dumps(body).encode()))
    head = await client.head()
    data = b"".join([chunk async for chunk in client.chunks()])
    await client.close()
    assert head.headers["x-pdmesh-retrieval"] == "ok"
    assert b'"retrieval":{"status":"ok"' in data
    assert prompt(edge).endswith(QUESTION)
    assert DOCUMENTS["parrot.md"] in prompt(edge)


async def test_the_grpc_api_has_it_too(edge: Edge) -> None:
    edge.router.script = edge.says("Blue.")
    async with AsyncClient(edge.grpc) as mesh:
        answer = await mesh.chat("tiny", QUESTION, retrieval=Retrieval(passages_max=1)).whole()
        assert answer.retrieval is not None
        assert (answer.retrieval.status, answer.retrieval.passages[0].source) == ("ok", "parrot.md")
        assert DOCUMENTS["parrot.md"] in prompt(edge)
        with pytest.raises(InvalidField, match="passages_max"):
            await mesh.chat("tiny", QUESTION, retrieval=Retrieval(passages_max=1_000)).whole()


@pytest.mark.parametrize(
    ("retrieval", "field"),
    [({"passages_max": 65}, "retrieval.passages_max"), ({"tokens_max": -1}, "retrieval.tokens_max")],
)
async def test_what_is_out_of_range_is_named(edge: Edge, retrieval: Any, field: str) -> None:
    status, _, body = await ask(edge, retrieval)
    assert (status, body["error"]["param"]) == (400, field)


class Stuck(retriever_pb2_grpc.RetrieverServiceServicer):
    """Never answers, or always with an error."""

    def __init__(self, *, answers: bool) -> None:
        self.asked = 0
        self._answers = answers

    async def Retrieve(self, _request: Any, _context: Any) -> wire.RetrieveResponse:  # noqa: N802
        """Hang or fail."""
        self.asked += 1
        if self._answers:
            raise ValueError("broken")
        await asyncio.Event().wait()
        return wire.RetrieveResponse()


@asynccontextmanager
async def edge_before(directory: Path, servicer: Stuck | None, timeout_ms: int) -> AsyncIterator[Edge]:
    """A gateway whose retriever is this one, or away."""
    server = RpcServer(["pdmesh.retrieval.v1.RetrieverService"])
    if servicer is not None:
        retriever_pb2_grpc.add_RetrieverServiceServicer_to_server(servicer, server.server)
    port = await server.start("127.0.0.1", 0)
    address = f"127.0.0.1:{port if servicer is not None else 1}"
    hook = RetrievalSettings(address=address, timeout_ms=timeout_ms)
    async with running_edge(directory, grace_ms=200, retrieval=hook) as running:
        yield running
    await server.stop(0)


@pytest.mark.parametrize(
    ("servicer", "word", "timeout_ms"),
    [
        (Stuck(answers=False), "timeout", 1_000),
        (Stuck(answers=True), "failed", 10_000),
        (None, "unavailable", 10_000),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_without_passages_the_answer_says_why(
    model_directory: Path, servicer: Stuck | None, word: str, timeout_ms: int
) -> None:
    async with edge_before(model_directory, servicer, timeout_ms) as edge:
        status, headers, body = await ask(edge, {})
        assert (status, headers["x-pdmesh-retrieval"], body["retrieval"]["status"]) == (200, word, word)
        assert body["choices"][0]["message"]["content"] == "Blue."
        status, headers, body = await ask(edge, {"required": True})
        assert (status, body["error"]["code"]) == (503, RetrievalFailed.reason)
        assert "retry-after" in headers
        await ask(edge, {})
        asked = servicer.asked if servicer is not None else 0
        _, headers, _ = await ask(edge, {})
        is_left_alone = word != "failed"  # an error is an answer: the retriever is there
        assert headers["x-pdmesh-retrieval"] == ("suspended" if is_left_alone else word)
        if servicer is not None:
            assert servicer.asked == asked + (not is_left_alone)
        _, headers, _ = await ask(edge, {"collection": "another"})
        assert headers["x-pdmesh-retrieval"] == word, "another collection may be had"


async def test_a_gateway_without_a_retriever_refuses(model_directory: Path) -> None:
    async with running_edge(model_directory, grace_ms=200) as edge:
        status, _, body = await ask(edge, {})
        assert (status, body["error"]["param"]) == (400, "retrieval")
