"""What makes two requests the same."""

import dataclasses

import pytest

from services.common.errors import InvalidField
from services.gateway.http import HttpRequest
from services.gateway.idempotency.key import IDEMPOTENCY_KEY, OFF, REQUEST_ID, digest_of, key_of, name_of

REQUEST = HttpRequest(
    "POST", "/v1/chat/completions", {}, b"{}", keep_alive=True, chunks_allowed=True, received_ms=0.0
)


def test_tenants_never_share_a_name() -> None:
    assert name_of("acme", "k") == name_of("acme", "k")
    assert name_of("acme", "k") != name_of("", "k")
    assert name_of("acme", "k") != name_of("acmek", "")
    assert name_of("a", "bc") != name_of("ab", "c")
    assert len(name_of("acme", "k" * 255)) == len(name_of("", ""))


def test_method_path_and_body_make_the_question() -> None:
    digest = digest_of(REQUEST)
    for change in ({"path": "/v1/completions"}, {"body": b"{ }"}, {"method": "PUT"}):
        assert digest_of(dataclasses.replace(REQUEST, **change)) != digest  # type: ignore[arg-type]
    assert digest_of(dataclasses.replace(REQUEST, received_ms=1.0, headers={"a": "b"})) == digest


@pytest.mark.parametrize(
    ("headers", "header", "key"),
    [
        ({"idempotency-key": "k"}, IDEMPOTENCY_KEY, "k"),
        ({"idempotency-key": "k", "x-request-id": "r"}, REQUEST_ID, "k"),
        ({"x-request-id": "r"}, REQUEST_ID, "r"),
        ({"x-request-id": "r"}, IDEMPOTENCY_KEY, ""),
        ({"idempotency-key": "k", "x-request-id": "r"}, OFF, ""),
        ({}, REQUEST_ID, ""),
    ],
)
def test_the_setting_says_which_header_counts(headers: dict[str, str], header: str, key: str) -> None:
    assert key_of(headers, header, 255) == key


def test_a_key_is_bounded() -> None:
    assert key_of({"idempotency-key": "k" * 255}, IDEMPOTENCY_KEY, 255) == "k" * 255
    with pytest.raises(InvalidField, match="at most 255"):
        key_of({"idempotency-key": "k" * 256}, IDEMPOTENCY_KEY, 255)
