"""Sampling parameters as a protobuf message and back."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from pdmesh.types.v1 import types_pb2
from services.common.domain import Sampling, Structured, StructuredKind
from services.common.domain.tokens import from_bytes, to_bytes, tokens
from services.common.errors import ProtocolViolation

_OPTIONAL = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
    "logprobs",
    "thinking_tokens_max",
)
_optional = attrgetter(*_OPTIONAL)


def sampling_fields(sampling: Sampling) -> dict[str, Any]:
    """Sampling parameters, as the fields of their message: it is built within the one that holds it.

    `None` stays absent.
    """
    fields: dict[str, Any] = dict(zip(_OPTIONAL, _optional(sampling), strict=True))
    fields["max_tokens"] = sampling.max_tokens
    fields["ignore_eos"] = sampling.ignore_eos
    fields["min_tokens"] = sampling.min_tokens
    if sampling.stop_token_ids:
        fields["stop_token_ids"] = sampling.stop_token_ids
    if sampling.logit_bias:
        fields["logit_bias"] = dict(sampling.logit_bias)
    if sampling.allowed_token_ids:
        fields["allowed_token_ids"] = to_bytes(tokens(sampling.allowed_token_ids))
    if sampling.bad_words:
        fields["bad_words"] = [{"token_ids": to_bytes(tokens(word))} for word in sampling.bad_words]
    if sampling.structured is not None:
        fields["structured"] = {"kind": int(sampling.structured.kind), "value": sampling.structured.value}
    return fields


def sampling_from_wire(wire: types_pb2.Sampling) -> Sampling:
    """Sampling parameters; absent becomes `None`. Raises ProtocolViolation on what is not known here."""
    fields: dict[str, Any] = {"max_tokens": wire.max_tokens}
    for descriptor, value in wire.ListFields():  # all that are present, and mostly few are
        name = descriptor.name
        read = _READ.get(name)
        try:
            fields[name] = value if read is None else read(value)
        except ValueError as failure:
            raise ProtocolViolation(f"sampling: {failure}") from failure
    return Sampling(**fields)


def _structured_from_wire(wire: types_pb2.Structured) -> Structured:
    return Structured(StructuredKind(wire.kind), wire.value)


_READ: dict[str, Callable[[Any], Any]] = {
    "stop_token_ids": tuple,
    "logit_bias": dict,
    "allowed_token_ids": lambda column: tuple(from_bytes(column)),
    "bad_words": lambda words: tuple(tuple(from_bytes(word.token_ids)) for word in words),
    "structured": _structured_from_wire,
}
"""How those fields are read that are not just numbers."""
