"""Vectors on the wire: what is asked comes out as it went in, and many of them make no frame too large."""

import pytest

from pdmesh.router.v1 import router_pb2
from services.common.domain import (
    Capacity,
    EmbeddingAsk,
    EmbeddingModel,
    Fingerprint,
    FinishReason,
    Job,
    JobFinished,
    JobKind,
    Registration,
    Request,
    Role,
    Sampling,
    StepOutput,
)
from services.common.domain.embedding import vector
from services.common.domain.tokens import tokens
from services.common.errors import ProtocolViolation
from services.common.limits import DEFAULTS
from services.common.rpc.columns import floats_to_bytes
from services.common.rpc.convert import (
    job_from_wire,
    job_to_wire,
    registration_from_wire,
    registration_to_wire,
    request_from_wire,
    request_to_wire,
)
from services.common.rpc.embedding import vector_from_wire
from services.common.rpc.frames import AnswerDraft, WorkerDraft
from services.common.rpc.steps import step_from_wire

ONE = Sampling(max_tokens=1)
PROMPT = tokens([1, 2])
LARGE = vector([0.5] * 4_096)


@pytest.mark.parametrize("ask", [None, EmbeddingAsk(), EmbeddingAsk(256)])
def test_a_wish_comes_back_and_none_is_none(ask):
    request = Request("r", "m", PROMPT, ONE, embedding=ask)
    assert request_from_wire(request_to_wire(4, request)) == request
    job = Job(4, JobKind.LOCAL if ask is None else JobKind.EMBED, "r", PROMPT, ONE, embedding=ask)
    assert job_from_wire(job_to_wire(job)) == job


@pytest.mark.parametrize(("kind", "ask"), [(JobKind.EMBED, None), (JobKind.LOCAL, EmbeddingAsk())])
def test_a_job_wants_a_vector_by_its_kind_and_its_wish_or_by_neither(kind, ask):
    with pytest.raises(ProtocolViolation):
        job_from_wire(job_to_wire(Job(4, kind, "r", PROMPT, ONE, embedding=ask)))


@pytest.mark.parametrize(
    "model", [None, EmbeddingModel(8), EmbeddingModel(8, True), EmbeddingModel(8, True, (2, 4))]
)
def test_a_worker_says_what_its_model_gives(model):
    prints = Fingerprint("m", "d", "f", "f", 16, 1, "sim", "1", "sim")
    registration = Registration("w", Role.PREFILL, prints, Capacity(1, 1, 1, 1, 1), embedding_model=model)
    assert registration_from_wire(registration_to_wire(registration)) == registration


def test_a_worker_says_whether_it_keeps_a_budget_of_reasoning():
    prints = Fingerprint("m", "d", "f", "f", 16, 1, "sim", "1", "sim")
    registration = Registration("w", Role.DECODE, prints, Capacity(1, 1, 1, 1, 1), limits_thinking=True)
    assert registration_from_wire(registration_to_wire(registration)) == registration


def test_vectors_come_back_with_their_ends_a_frame_s_fill_at_a_time():
    draft = WorkerDraft()
    ends = [JobFinished(n, FinishReason.STOP, 1, LARGE) for n in range(1_000)]
    draft.add_step(StepOutput(finished=ends))
    got, frames = [], 0
    while not draft.is_empty():
        frame = draft.take(frames + 1, 0)
        assert frame.ByteSize() < DEFAULTS.frame_size_bytes_max
        got += step_from_wire(frame).finished
        frames += 1
    assert got == ends
    assert frames > 1
    assert draft.size_bytes() == 0


def test_a_gateway_gets_them_a_fill_at_a_time_too():
    draft, got = AnswerDraft(), []
    for n in range(1_100):
        draft.end(router_pb2.StreamEnded(stream=n, vector=floats_to_bytes(LARGE)))
    assert draft.size_bytes() > DEFAULTS.frame_size_bytes_max
    while not draft.is_empty():
        frame = draft.take(1, 0)
        assert frame.ByteSize() < DEFAULTS.frame_size_bytes_max
        got += [ended.stream for ended in frame.ended]
    assert got == list(range(1_100))


def test_half_a_number_is_a_violation():
    assert vector_from_wire(b"") is None
    with pytest.raises(ProtocolViolation):
        vector_from_wire(b"12345")


@pytest.mark.parametrize(
    ("model", "given", "refused"),
    [
        (EmbeddingModel(8), (0, 8), (-1, 1, 7, 9)),
        (EmbeddingModel(8, True), (0, 1, 7, 8), (-1, 9)),
        (EmbeddingModel(8, True, (2, 4)), (0, 2, 4, 8), (1, 3, 9)),
    ],
)
def test_which_sizes_a_model_gives(model, given, refused):
    assert all(map(model.gives, given))
    assert not any(map(model.gives, refused))
