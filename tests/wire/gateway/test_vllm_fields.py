"""Fields of vLLM's that the gateway honours, over the wire."""

import json
from typing import Any

import pytest

from services.common.domain import TokenLogprobs
from services.common.domain.logprobs import logprobs
from services.common.domain.tokens import tokens
from tests.wire.gateway.conftest import Edge
from tests.wire.gateway.fake_router import Job
from tests.wire.gateway.raw_http import RawResponse, post

CHAT = ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]})
COMPLETION = ("/v1/completions", {"prompt": "Hi"})
DOORS = pytest.mark.parametrize(("path", "body"), [CHAT, COMPLETION])


async def answered(edge: Edge, path: str, body: dict[str, Any], header: str = "") -> RawResponse:
    client = await edge.client()
    client.send(post(path, json.dumps({"model": "tiny", **body}).encode(), *([header] if header else [])))
    response = await client.response()
    await client.close()
    return response


@DOORS
async def test_requests_of_other_salts_share_no_cached_prompt(
    edge: Edge, path: str, body: dict[str, Any]
) -> None:
    edge.router.script = edge.says("ho")
    for salt in ("a", "b", "a", None):
        assert (await answered(edge, path, {**body, "cache_salt": salt})).status == 200
    first, second, again, none = [job.request.cache_salt for job in edge.router.jobs]
    assert first == again
    assert len({first, second, none, "a"}) == 4
    assert none == ""


@DOORS
async def test_a_body_names_its_request_unless_the_header_does(
    edge: Edge, path: str, body: dict[str, Any]
) -> None:
    edge.router.script = edge.says("ho")
    body = {**body, "request_id": "mine"}
    response = await answered(edge, path, body)
    assert response.headers["x-request-id"] == "mine"
    assert json.loads(response.body)["id"].endswith("-mine")
    assert edge.router.jobs[-1].request.request_id == "mine"
    assert (await answered(edge, path, body, "x-request-id: theirs")).headers["x-request-id"] == "theirs"
    response = await answered(edge, path, body | {"request_id": "two\r\nlines"})
    assert response.status == 200
    assert "lines" not in response.headers["x-request-id"]


@DOORS
async def test_tokens_of_logprobs_are_told_by_id_where_so_asked(
    edge: Edge, path: str, body: dict[str, Any]
) -> None:
    def script(job: Job) -> None:
        job.place()
        job.send([7], TokenLogprobs(2, logprobs([-0.5]), tokens([7, 9]), logprobs([-0.5, -1.5])))
        job.end()

    edge.router.script = script
    details = {"logprobs": True, "top_logprobs": 2} if "messages" in body else {"logprobs": 2}
    response = await answered(edge, path, {**body, **details, "return_tokens_as_token_ids": True})
    made = json.loads(response.body)["choices"][0]["logprobs"]
    if "messages" in body:
        (token,) = made["content"]
        assert (token["token"], bytes(token["bytes"])) == ("token_id:7", b"token_id:7")
        assert [top["token"] for top in token["top_logprobs"]] == ["token_id:7", "token_id:9"]
    else:
        assert made["tokens"] == ["token_id:7"]
        assert made["top_logprobs"] == [{"token_id:7": -0.5, "token_id:9": -1.5}]
