"""Whatever a client sends, the answer is OpenAI's error body with the right status and field."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdmesh.router.v1 import router_pb2
from tests.unit.gateway.test_bodies import BAD_FIELDS, json_values, names
from tests.wire.gateway.conftest import Edge, running_edge
from tests.wire.gateway.fake_router import MODEL
from tests.wire.gateway.raw_http import RawClient, RawResponse, get, post

HI = [{"role": "user", "content": "Hi"}]
CHAT = "/v1/chat/completions"


async def ask(edge: Edge, body: bytes, path: str = CHAT, *headers: str) -> RawResponse:
    client = await edge.client()
    client.send(post(path, body, *headers))
    response = await client.response()
    await client.close()
    return response


def error_of(response: RawResponse) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = json.loads(response.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
async def test_a_bad_field_is_a_400_that_names_it(edge: Edge, field: str, value: Any) -> None:
    name = field.partition("[")[0].partition(".")[0]
    body = json.dumps({"model": "tiny", "messages": HI, name: value}).encode()
    response = await ask(edge, body)
    error = error_of(response)
    assert (response.status, error["param"], error["type"]) == (400, field, "invalid_request_error")


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        (b"{", 400, None, "invalid_field"),
        (b"", 400, None, "invalid_field"),
        (b'{"model": "\xff\xfe"}', 400, None, "invalid_field"),
        (b"[" * 100_000, 400, None, "invalid_field"),
        (json.dumps({"model": "other", "messages": HI}).encode(), 404, "model", "model_not_found"),
        (
            json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "a b " * 400}]}).encode(),
            400,
            "messages",
            "context_length_exceeded",
        ),
        (
            json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "a b " * 4000}]}).encode(),
            400,
            "messages",
            "context_length_exceeded",
        ),
        (
            json.dumps({"model": "tiny", "messages": HI, "max_tokens": 399}).encode(),
            400,
            "max_tokens",
            "context_length_exceeded",
        ),
        (
            json.dumps({"model": "tiny", "messages": [{"role": "function", "content": "x"}]}).encode(),
            400,
            "messages",
            "invalid_field",
        ),
        (
            json.dumps({"model": "tiny", "messages": HI, "logit_bias": {"999999": 1}}).encode(),
            400,
            "logit_bias",
            "invalid_field",
        ),
    ],
)
async def test_bad_bodies(edge: Edge, body: bytes, status: int, param: str | None, code: str) -> None:
    response = await ask(edge, body)
    error = error_of(response)
    assert (response.status, error["param"], error["code"]) == (status, param, code)
    assert response.headers["x-request-id"]
    assert edge.router.jobs == []


async def test_a_prompt_of_unknown_tokens_is_refused(edge: Edge) -> None:
    body = json.dumps({"model": "tiny", "prompt": [5, 99_999]}).encode()
    response = await ask(edge, body, "/v1/completions")
    assert (response.status, error_of(response)["param"]) == (400, "prompt")


async def test_ten_megabytes_are_refused(edge: Edge) -> None:
    response = await ask(edge, b" " * 10_000_000)
    assert (response.status, error_of(response)["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "lorem ipsum dolor " * 230_000}],
        [{"role": "user", "content": ""}] * 20_000,
    ],
    ids=["much text", "many messages"],
)
async def test_a_long_prompt_does_not_hold_up_the_others(edge: Edge, messages: list[dict[str, str]]) -> None:
    """It is refused, and a short request beside it is answered; tests/attack shows what it may hold up."""
    edge.router.script = edge.says("quick")
    long, short = await edge.client(), await edge.client()
    long.send(post(CHAT, json.dumps({"model": "tiny", "messages": messages}).encode()))
    refusal = asyncio.create_task(long.response())
    await long.writer.drain()
    short.send(post(CHAT, json.dumps({"model": "tiny", "messages": HI}).encode()))
    assert (await short.response()).status == 200
    assert (await refusal).status == 400
    await long.close()
    await short.close()


async def test_the_log_line_of_a_model_that_does_not_exist_is_short(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "pdmesh.request"):
        response = await ask(edge, json.dumps({"model": "m" * 100_000, "messages": HI}).encode())
    assert response.status == 404
    (record,) = [record for record in caplog.records if record.name == "pdmesh.request"]
    assert record.__dict__["model"] == "m" * 200


@pytest.mark.parametrize(
    ("request_id", "is_kept"),
    [
        ("a b", True),
        ('{"trace": "1"}', True),
        ("Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("a\tb", False),
        ("é", False),
    ],
)
async def test_a_request_id_is_kept_or_replaced(edge: Edge, request_id: str, is_kept: bool) -> None:
    edge.router.script = edge.says("fine")
    body = json.dumps({"model": "tiny", "messages": HI}).encode()
    response = await ask(edge, body, CHAT, f"x-request-id: {request_id}")
    assert response.status == 200
    assert (response.headers["x-request-id"] == request_id) == is_kept
    assert json.loads(response.body)["id"] == "chatcmpl-" + response.headers["x-request-id"]


@pytest.mark.parametrize("model", [{}, {"model": None}, {"model": ""}])
async def test_where_one_model_is_served_it_need_not_be_named(edge: Edge, model: dict[str, Any]) -> None:
    edge.router.script = edge.says("fine")
    for path, body in (
        (CHAT, {"messages": HI}),
        ("/v1/completions", {"prompt": "Hi"}),
        ("/v1/responses", {"input": "Hi"}),
        ("/v1/messages", {"messages": HI, "max_tokens": 9}),
    ):
        response = await ask(edge, json.dumps({**body, **model}).encode(), path)
        assert (response.status, json.loads(response.body)["model"]) == (200, "tiny")
    counted = await ask(edge, json.dumps({"messages": HI, **model}).encode(), "/v1/messages/count_tokens")
    assert counted.status == 200


async def test_where_several_are_served_one_must_be_named(model_directory: Path) -> None:
    other = router_pb2.Model(name="other", max_model_len=400, prefill_workers=1, decode_workers=1)
    async with running_edge(model_directory, models=[MODEL, other]) as edge:
        response = await ask(edge, json.dumps({"messages": HI}).encode())
        assert (response.status, error_of(response)["param"]) == (400, "model")


async def test_a_bad_path_demand_is_refused(edge: Edge) -> None:
    body = json.dumps({"model": "tiny", "messages": HI}).encode()
    response = await ask(edge, body, CHAT, "x-pdmesh-path: sideways")
    assert (response.status, error_of(response)["param"]) == (400, "x-pdmesh-path")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [(get("/v1/nothing"), 404), (get(CHAT), 405), (post("/health", b""), 405), (b"BLAH\r\n\r\n", 400)],
)
async def test_wrong_urls_and_methods(edge: Edge, request_bytes: bytes, status: int) -> None:
    client = await edge.client()
    client.send(request_bytes)
    response = await client.response()
    assert response.status == status
    error_of(response)
    await client.close()


bodies = st.one_of(
    st.binary(max_size=80),
    st.dictionaries(names, json_values, max_size=5).map(lambda d: json.dumps(d).encode()),
    st.dictionaries(names, json_values, max_size=3).map(
        lambda d: json.dumps({"model": "tiny", "messages": HI, "prompt": "Hi", **d}).encode()
    ),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.lists(st.tuples(bodies, st.sampled_from([CHAT, "/v1/completions"])), min_size=1, max_size=5)
)
def test_no_body_is_answered_with_a_5xx(fuzzed_edge: "FuzzedEdge", requests: list[tuple[bytes, str]]) -> None:
    for status in fuzzed_edge.ask(requests):
        assert status == 200 or 400 <= status < 500


class FuzzedEdge:
    """A gateway that Hypothesis, which is not asynchronous, can ask."""

    def __init__(self, edge: Edge, run: Any) -> None:
        self._edge = edge
        self._run = run

    def ask(self, requests: list[tuple[bytes, str]]) -> list[int]:
        statuses: list[int] = self._run(self._ask(requests))
        return statuses

    async def _ask(self, requests: list[tuple[bytes, str]]) -> list[int]:
        client = await RawClient.connect(self._edge.port)
        for body, path in requests:
            client.send(post(path, body))
        statuses = [(await client.response()).status for _ in requests]
        await client.close()
        return statuses


@pytest.fixture
def fuzzed_edge(model_directory: Any) -> Any:
    from tests.wire.gateway.conftest import running_edge

    with asyncio.Runner() as runner:
        running = running_edge(model_directory)
        edge = runner.run(running.__aenter__())
        edge.router.script = edge.says("fine")
        yield FuzzedEdge(edge, runner.run)
        runner.run(running.__aexit__(None, None, None))
