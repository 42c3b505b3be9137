"""What vLLM's models and parsers refuse becomes a 400 that names the field."""

from typing import Any

import pytest

from services.gateway.models.parsing.refusal import REASON_CHARS_MAX, refusal_of


class ClientError(Exception):
    """As vLLM's own: an exception that is no ValueError, with the field beside the message."""

    def __init__(self, message: str, parameter: str | None) -> None:
        super().__init__(message)
        self.parameter = parameter

    def __str__(self) -> str:
        return f"{self.args[0]} (parameter={self.parameter}, value=long)"


class Listed(ValueError):
    """As pydantic's."""

    def errors(self) -> list[dict[str, Any]]:
        return [{"loc": ("tools", 0, "function", "name"), "msg": "should be a string"}]


class NothingListed(ValueError):
    def errors(self) -> list[dict[str, Any]]:
        return []


@pytest.mark.parametrize(
    ("error", "field", "message"),
    [
        (ClientError("cannot be both", "structured_outputs"), "structured_outputs", "cannot be both"),
        (ClientError("cannot be", None), "tools", "cannot be"),
        (Listed("1 error\nmany lines"), "tools[0].function.name", "should be a string"),
        (NothingListed("none"), "tools", "none"),
        (KeyError("name"), "tools", "name"),
        (RecursionError(), "tools", "RecursionError"),
        (ValueError("first\nsecond"), "tools", "first"),
        (ValueError("x" * 9999), "tools", "x" * REASON_CHARS_MAX),
    ],
)
def test_the_field_is_named(error: Exception, field: str, message: str) -> None:
    refusal = refusal_of(error)
    assert (refusal.http_status, refusal.field) == (400, field)
    assert refusal.message == f"{field}: {message}"
