"""Tokens and their logprobs as packed columns and back."""

import sys
from array import array

from pdmesh.types.v1 import types_pb2
from services.common.domain import LogprobColumns, TokenColumns
from services.common.domain.logprobs import logprobs
from services.common.domain.tokens import from_bytes, to_bytes, tokens
from services.common.errors import ProtocolViolation


def columns_to_wire(columns: TokenColumns) -> types_pb2.TokenColumns:
    """Token columns; one token each is sent as no counts at all."""
    one_each = columns.counts.count(1) == len(columns.streams)
    wire = types_pb2.TokenColumns(
        streams=to_bytes(columns.streams),
        counts=b"" if one_each else to_bytes(columns.counts),
        token_ids=to_bytes(columns.token_ids),
    )
    if columns.logprobs is not None:
        wire.logprobs.CopyFrom(logprobs_to_wire(columns.logprobs))
    return wire


def columns_from_wire(wire: types_pb2.TokenColumns) -> TokenColumns:
    """Token columns; raises ProtocolViolation when the columns' lengths disagree."""
    try:
        streams, token_ids = from_bytes(wire.streams), from_bytes(wire.token_ids)
        counts = from_bytes(wire.counts) if wire.counts else tokens([1]) * len(streams)
        described = logprobs_from_wire(wire.logprobs) if wire.HasField("logprobs") else None
    except ValueError as failure:
        raise ProtocolViolation(f"token columns: {failure}") from failure
    columns = TokenColumns(streams, counts, token_ids, described)
    if not columns.is_well_formed():
        raise ProtocolViolation("token columns differ in length")
    return columns


def logprobs_to_wire(columns: LogprobColumns) -> types_pb2.LogprobColumns:
    """Logprob columns."""
    return types_pb2.LogprobColumns(
        streams=to_bytes(columns.streams),
        counts=to_bytes(columns.counts),
        alternatives=to_bytes(columns.alternatives),
        chosen=floats_to_bytes(columns.chosen),
        top_ids=to_bytes(columns.top_ids),
        top=floats_to_bytes(columns.top),
    )


def logprobs_from_wire(wire: types_pb2.LogprobColumns) -> LogprobColumns:
    """Logprob columns, lengths unchecked; raises ValueError when one is no multiple of 4 bytes."""
    return LogprobColumns(
        streams=from_bytes(wire.streams),
        counts=from_bytes(wire.counts),
        alternatives=from_bytes(wire.alternatives),
        chosen=floats_from_bytes(wire.chosen),
        top_ids=from_bytes(wire.top_ids),
        top=floats_from_bytes(wire.top),
    )


def floats_to_bytes(values: "array[float]") -> bytes:
    """The wire column (little-endian 32-bit floats) of an array."""
    if sys.byteorder == "big":  # pragma: no cover
        values = values[:]
        values.byteswap()
    return values.tobytes()


def floats_from_bytes(column: bytes) -> "array[float]":
    """An array from a wire column; raises ValueError when its length is no multiple of 4 bytes."""
    values = logprobs()
    values.frombytes(column)
    if sys.byteorder == "big":  # pragma: no cover
        values.byteswap()
    return values
