"""What crosses the wire comes out as it went in, and what a newer peer says does no harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdmesh.router.v1 import router_pb2
from pdmesh.types.v1 import types_pb2
from services.common.domain import (
    HandoffOffered,
    Receipt,
    Request,
    Sampling,
    ServiceClass,
    StepOutput,
    Structured,
    StructuredKind,
    TokenColumns,
    TokenLogprobs,
)
from services.common.domain.logprobs import logprobs
from services.common.domain.tokens import tokens
from services.common.errors import ProtocolViolation
from services.common.rpc.columns import columns_from_wire, columns_to_wire
from services.common.rpc.convert import receipt_from_wire, receipt_to_wire, request_from_wire, request_to_wire
from services.common.rpc.frames import WorkerDraft
from services.common.rpc.steps import step_from_wire

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


def described(k: int, *token_ids: int) -> TokenLogprobs:
    """Logprobs of these tokens with `k` alternatives each."""
    beside = [i for token_id in token_ids for i in range(token_id, token_id + k)]
    chosen = logprobs([-0.5 * i for i in token_ids])
    return TokenLogprobs(k, chosen, tokens(beside), logprobs([-0.25 * i for i in beside]))


def test_logprobs_travel_beside_the_tokens_of_those_that_asked():
    columns = TokenColumns()
    columns.add(7, tokens([1, 2]))
    columns.add_one(8, 3)
    columns.add_logprobs(7, described(2, 1, 2))
    later = TokenColumns()
    later.add_one(7, 4)
    later.add_one(9, 5)
    later.add_logprobs(7, described(2, 4))
    later.add_logprobs(9, described(0, 5))
    columns.extend(later)
    arrived = columns_from_wire(columns_to_wire(columns))
    assert arrived == columns
    assert arrived.logprobs is not None
    assert arrived.logprobs.by_stream() == {7: described(2, 1, 2, 4), 9: described(0, 5)}
    assert described(2, 1, 2, 4).part(1, 3) == described(2, 2, 4)


@pytest.mark.parametrize("fault", ["too few", "of nobody", "two widths", "ragged"])
def test_logprobs_that_do_not_fit_the_tokens_are_violations(fault):
    columns = TokenColumns()
    columns.add(7, tokens([1, 2]))
    columns.add_logprobs(7, described(2, 1))
    if fault == "of nobody":
        columns.add_logprobs(7, described(2, 2))
        columns.add_logprobs(8, described(2, 1))
    elif fault == "two widths":
        columns.add_logprobs(7, described(1, 2))
    wire = columns_to_wire(columns)
    if fault == "ragged":
        wire.logprobs.chosen += b"12"
    with pytest.raises(ProtocolViolation):
        columns_from_wire(wire)


@pytest.mark.parametrize("given", [described(3, 4), None])
def test_an_offers_first_token_has_its_logprobs(given):
    offer = HandoffOffered(5, "h", b"{}", 10, 1, 100, 1000, tokens([4]), 0, given)
    draft = WorkerDraft()
    draft.add_step(StepOutput(offered=[offer]))
    assert step_from_wire(draft.take(1, 0)).offered == [offer]


def test_an_offers_logprobs_are_those_of_its_tokens():
    offer = HandoffOffered(5, "h", b"{}", 10, 1, 100, 1000, tokens([4]), 0, described(3, 4, 5))
    draft = WorkerDraft()
    draft.add_step(StepOutput(offered=[offer]))
    with pytest.raises(ProtocolViolation):
        step_from_wire(draft.take(1, 0))


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=5),
        Sampling(max_tokens=5, logprobs=0, allowed_token_ids=(1, 2), bad_words=((3,), (4, 5))),
        Sampling(max_tokens=5, logprobs=20, structured=Structured(StructuredKind.JSON_OBJECT)),
        Sampling(max_tokens=5, thinking_tokens_max=0),
        Sampling(max_tokens=5, seed=3, structured=Structured(StructuredKind.CHOICE, '["a"]')),
    ],
)
def test_a_request_comes_back(sampling):
    request = Request("r", "m", tokens([1]), sampling, lora="style", priority=-3, tenant_weight=2.5)
    assert request_from_wire(request_to_wire(4, request)) == request


@pytest.mark.parametrize(
    ("sent", "taken"), [(0.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0), (float("inf"), 1_000.0), (1e-9, 0.001)]
)
def test_a_weight_that_nothing_can_be_divided_by_does_no_harm(sent: float, taken: float) -> None:
    assert request_from_wire(router_pb2.Submission(tenant_weight=sent)).tenant_weight == taken


def test_an_unknown_structure_is_a_violation_and_never_no_structure():
    wire = request_to_wire(4, Request("r", "m", tokens([1]), Sampling(max_tokens=5)))
    wire.sampling.structured.kind = 99
    with pytest.raises(ProtocolViolation):
        request_from_wire(wire)


def test_numbers_of_a_newer_peer_do_no_harm():
    request = request_from_wire(router_pb2.Submission(service_class=9))
    assert request.service_class is ServiceClass.STANDARD
    wire = receipt_to_wire(Receipt("r", queue_ms=1.5))
    wire.path = 9
    assert receipt_from_wire(wire) == Receipt("r", queue_ms=1.5)
