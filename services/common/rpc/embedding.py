"""Vectors, wishes for them and models that give them, as protobuf messages and back."""

from array import array

from pdmesh.types.v1 import types_pb2
from services.common.domain import EmbeddingAsk, EmbeddingModel
from services.common.errors import ProtocolViolation
from services.common.rpc.columns import floats_from_bytes


def ask_to_wire(ask: EmbeddingAsk) -> types_pb2.EmbeddingAsk:
    """A wish for a vector."""
    return types_pb2.EmbeddingAsk(dimensions=ask.dimensions)


def ask_from_wire(wire: types_pb2.EmbeddingAsk) -> EmbeddingAsk:
    """A wish for a vector."""
    return EmbeddingAsk(wire.dimensions)


def model_to_wire(model: EmbeddingModel) -> types_pb2.EmbeddingModel:
    """What a model gives."""
    return types_pb2.EmbeddingModel(dimensions=model.dimensions, may_cut=model.may_cut, cuts=model.cuts)


def model_from_wire(wire: types_pb2.EmbeddingModel) -> EmbeddingModel:
    """What a model gives."""
    return EmbeddingModel(wire.dimensions, wire.may_cut, tuple(wire.cuts))


def vector_from_wire(column: bytes) -> "array[float] | None":
    """The vector that came with an end; `None` where none did. Raises ProtocolViolation."""
    try:
        return floats_from_bytes(column) if column else None
    except ValueError as failure:
        raise ProtocolViolation(f"vector: {failure}") from failure
