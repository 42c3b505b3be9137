"""A shape that the engine refuses is named by the field in which the caller gave it."""

import json
from typing import Any

import pytest

from services.common.domain import SHAPE_REFUSED
from services.common.errors import InvalidField
from tests.wire.gateway.conftest import Edge
from tests.wire.gateway.raw_http import post

HI = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object"}
CHAT, COMPLETE, RESPOND, MESSAGE = (
    ("/v1/chat/completions", {"messages": HI}),
    ("/v1/completions", {"prompt": "Hi"}),
    ("/v1/responses", {"input": "Hi"}),
    ("/v1/messages", {"messages": HI, "max_tokens": 9}),
)


@pytest.mark.parametrize(
    ("door", "fields", "name"),
    [
        (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
        (CHAT, {"structured_outputs": {"regex": "(("}}, "structured_outputs"),
        (COMPLETE, {"guided_grammar": "root ::= x"}, "guided_grammar"),
        (
            RESPOND,
            {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}},
            "text.format",
        ),
        (
            MESSAGE,
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            "output_config.format",
        ),
    ],
)
async def test_the_caller_s_own_field_is_named(
    edge: Edge, door: tuple[str, dict[str, Any]], fields: dict[str, Any], name: str
) -> None:
    edge.router.script = lambda job: job.end(error=InvalidField(f"{SHAPE_REFUSED}it does not end"))
    client = await edge.client()
    path, body = door
    client.send(post(path, json.dumps({**body, **fields}).encode()))
    response = await client.response()
    await client.close()
    error = json.loads(response.body)["error"]
    assert (response.status, error["param"], error["message"]) == (400, name, f"{name}: it does not end")
