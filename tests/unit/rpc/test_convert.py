"""What crosses the wire comes out as it went in, and what a newer peer says does no harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdmesh.router.v1 import router_pb2
from pdmesh.types.v1 import types_pb2
from services.common.domain import Receipt, ServiceClass, TokenColumns
from services.common.domain.tokens import tokens
from services.common.errors import ProtocolViolation
from services.common.rpc.convert import (
    columns_from_wire,
    columns_to_wire,
    receipt_from_wire,
    receipt_to_wire,
    request_from_wire,
)

ids = st.integers(0, 2**32 - 1)


@given(st.lists(st.tuples(ids, st.lists(ids, max_size=4)), max_size=20))
def test_columns_come_back_whatever_their_counts(streams):
    columns = TokenColumns()
    for stream, token_ids in streams:
        columns.add(stream, tokens(token_ids))
    assert columns_from_wire(columns_to_wire(columns)) == columns


def test_one_token_each_needs_no_counts():
    columns = TokenColumns()
    columns.add_one(7, 1)
    columns.add_one(8, 2)
    assert columns_to_wire(columns).counts == b""


@pytest.mark.parametrize(
    "wire",
    [
        types_pb2.TokenColumns(streams=b"123"),
        types_pb2.TokenColumns(streams=b"1234", token_ids=b""),
        types_pb2.TokenColumns(streams=b"1234", counts=b"\2\0\0\0", token_ids=b"1234"),
    ],
)
def test_columns_that_disagree_are_violations(wire):
    with pytest.raises(ProtocolViolation):
        columns_from_wire(wire)


def test_numbers_of_a_newer_peer_do_no_harm():
    request = request_from_wire(router_pb2.Submission(service_class=9))
    assert request.service_class is ServiceClass.STANDARD
    wire = receipt_to_wire(Receipt("r", queue_ms=1.5))
    wire.path = 9
    assert receipt_from_wire(wire) == Receipt("r", queue_ms=1.5)
