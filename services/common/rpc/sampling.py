"""Sampling parameters as a protobuf message and back."""

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


def sampling_to_wire(sampling: Sampling) -> types_pb2.Sampling:
    """Sampling parameters; `None` stays absent."""
    given = {name: getattr(sampling, name) for name in _OPTIONAL}
    wire = types_pb2.Sampling(
        max_tokens=sampling.max_tokens,
        stop_token_ids=sampling.stop_token_ids,
        ignore_eos=sampling.ignore_eos,
        min_tokens=sampling.min_tokens,
        logit_bias=dict(sampling.logit_bias),
        **{name: value for name, value in given.items() if value is not None},
    )
    if sampling.allowed_token_ids:
        wire.allowed_token_ids = to_bytes(tokens(sampling.allowed_token_ids))
    if sampling.bad_words:
        wire.bad_words.extend(
            types_pb2.TokenSequence(token_ids=to_bytes(tokens(word))) for word in sampling.bad_words
        )
    if sampling.structured is not None:
        wire.structured.CopyFrom(_structured_to_wire(sampling.structured))
    return wire


def sampling_from_wire(wire: types_pb2.Sampling) -> Sampling:
    """Sampling parameters; absent becomes `None`. Raises ProtocolViolation on what is not known here."""
    given = {name: getattr(wire, name) for name in _OPTIONAL if wire.HasField(name)}
    try:
        allowed = tuple(from_bytes(wire.allowed_token_ids))
        bad_words = tuple(tuple(from_bytes(word.token_ids)) for word in wire.bad_words)
        structured = _structured_from_wire(wire.structured) if wire.HasField("structured") else None
    except ValueError as failure:
        raise ProtocolViolation(f"sampling: {failure}") from failure
    return Sampling(
        max_tokens=wire.max_tokens,
        stop_token_ids=tuple(wire.stop_token_ids),
        ignore_eos=wire.ignore_eos,
        min_tokens=wire.min_tokens,
        logit_bias=dict(wire.logit_bias),
        allowed_token_ids=allowed,
        bad_words=bad_words,
        structured=structured,
        **given,
    )


def _structured_to_wire(structured: Structured) -> types_pb2.Structured:
    kind: Any = int(structured.kind)
    return types_pb2.Structured(kind=kind, value=structured.value)


def _structured_from_wire(wire: types_pb2.Structured) -> Structured:
    return Structured(StructuredKind(wire.kind), wire.value)
