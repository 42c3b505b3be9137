"""The description of the API says what the API does."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from services.common.errors import MeshError
from services.gateway.rest.api import Api
from services.gateway.rest.openapi import document
from services.gateway.rest.openapi.operations import OPERATIONS

NOTHING: Any = type("Nothing", (), {"__getattr__": lambda self, name: lambda *_: None})()


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document()


def test_every_route_is_described() -> None:
    parts = [NOTHING] * 6
    api = Api(*parts, idempotency=NOTHING, tokenizing=NOTHING, responses=NOTHING, usage=NOTHING)
    described = {(one.method.upper(), re.sub(r"\{\w+\}", "*", one.path)) for one in OPERATIONS}
    assert described == api.routes.listed()


def refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, below in value.items():
            if key == "$ref":
                yield below
            yield from refs(below)
    elif isinstance(value, list):
        for below in value:
            yield from refs(below)


def test_references_lead_somewhere(described: dict[str, Any]) -> None:
    for ref in refs(described):
        name = ref.removeprefix("#/components/schemas/")
        assert name in described["components"]["schemas"]
        assert "." not in name, "two structs have the same name"


def test_every_error_is_told(described: dict[str, Any]) -> None:
    answers = described["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert "rate_limit_exceeded" in answers["429"]["description"]
    assert "invalid_field" in answers["400"]["description"]
    assert MeshError.reason in answers["500"]["description"]


def test_what_is_refused_takes_nothing(described: dict[str, Any]) -> None:
    chat = described["components"]["schemas"]["ChatBody"]
    assert chat["properties"]["functions"]["type"] == "null"
    assert chat["required"] == ["messages"]
