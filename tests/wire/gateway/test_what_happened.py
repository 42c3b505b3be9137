"""An answer's head says what happened to it where its end is known by then, and its receipt in any case."""

import json
import re
from typing import Any

import pytest

from tests.wire.gateway.conftest import Edge
from tests.wire.gateway.fake_router import Job
from tests.wire.gateway.raw_http import RawResponse, post

WORDS: dict[str, Any] = {"model": "tiny", "max_tokens": 4}
CHAT = [{"role": "user", "content": "hi"}]
APIS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {**WORDS, "messages": CHAT},
    "/v1/completions": {**WORDS, "prompt": "hi"},
    "/v1/responses": {"model": "tiny", "input": "hi"},
    "/v1/messages": {**WORDS, "messages": CHAT},
}


async def ask(edge: Edge, path: str, body: dict[str, Any], *headers: str) -> RawResponse:
    client = await edge.client()
    try:
        client.send(post(path, json.dumps(body).encode(), *headers))
        return await client.response()
    finally:
        await client.close()


def falls_back(edge: Edge) -> None:
    """Answers begin as planned, with a handoff, which then fails."""

    def script(job: Job) -> None:
        job.place()
        job.send(edge.ids("yes"))
        job.end(path_reason="handoff_failed")

    edge.router.script = script


@pytest.mark.parametrize("path", APIS)
async def test_a_whole_answers_head_says_what_happened(edge: Edge, path: str) -> None:
    falls_back(edge)
    answer = await ask(edge, path, APIS[path])
    assert answer.status == 200
    assert answer.headers["x-pdmesh-path"] == "local"
    assert answer.headers["x-pdmesh-path-reason"] == "handoff_failed"


async def test_a_retry_gets_the_same_head(edge: Edge) -> None:
    falls_back(edge)
    asked = ("/v1/completions", APIS["/v1/completions"], "idempotency-key: once")
    first, again = await ask(edge, *asked), await ask(edge, *asked)
    assert again.headers["idempotent-replayed"] == "true"
    assert [a.headers["x-pdmesh-path"] for a in (first, again)] == ["local", "local"]


async def test_the_first_choices_end_counts(edge: Edge) -> None:
    reasons = iter(["long_prompt", "handoff_failed"])

    def script(job: Job) -> None:
        job.place()
        job.send(edge.ids("yes"))
        job.end(path_reason=next(reasons))

    edge.router.script = script
    answer = await ask(edge, "/v1/completions", {**APIS["/v1/completions"], "n": 2})
    assert answer.headers["x-pdmesh-path"] == "disaggregated"


async def test_a_streams_receipt_corrects_its_head(edge: Edge) -> None:
    falls_back(edge)
    body = {**APIS["/v1/completions"], "stream": True, "pdmesh": {"receipt": True}}
    answer = await ask(edge, "/v1/completions", body)
    (receipt,) = re.findall(rb'"pdmesh":({.*?})', answer.body)
    assert (json.loads(receipt)["path"], json.loads(receipt)["path_reason"]) == ("local", "handoff_failed")
