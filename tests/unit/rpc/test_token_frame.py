"""Token frames by themselves, and which drafts send them."""

import pytest

from pdmesh.router.v1 import router_pb2
from services.common.domain import (
    HandoffAdopted,
    HandoffReleased,
    KvChange,
    LoadReport,
    StepOutput,
    TokenColumns,
)
from services.common.domain.tokens import tokens
from services.common.errors import ProtocolViolation
from services.common.rpc.frames import LOADS_PER_KV, AnswerDraft, WorkerDraft
from services.common.rpc.token_frame import TokenFrame

GROWTH = KvChange((b"b",), b"a", (), tokens([1, 2]), 2)


def columns(*streams: int, each: int = 1) -> TokenColumns:
    made = TokenColumns()
    for stream in streams:
        made.add(stream, tokens(range(100 * stream, 100 * stream + each)))
    return made


def test_it_is_read_as_it_was_written() -> None:
    frame = TokenFrame(2**40, 2**33, tokens([7, 2**32 - 1]), tokens([0, 128_000]))
    read = TokenFrame.decode(frame.encode())
    assert (read.sequence, read.acknowledged) == (2**40, 2**33)
    assert (read.streams, read.token_ids) == (frame.streams, frame.token_ids)
    assert read.columns().counts == tokens([1, 1])


@pytest.mark.parametrize("size", [0, 15, 17, 20, 22, 28])
def test_columns_that_cannot_be_equally_long_are_a_violation(size: int) -> None:
    with pytest.raises(ProtocolViolation, match=f"{size} bytes"):
        TokenFrame.decode(bytes(size))


@pytest.mark.parametrize("size", [16, 24, 32])
def test_columns_of_any_length_are_read(size: int) -> None:
    assert len(TokenFrame.decode(bytes(size)).streams) == (size - 16) // 8


def test_a_worker_sends_one_for_a_step_of_tokens_alone() -> None:
    draft = WorkerDraft()
    draft.add_step(StepOutput(tokens=columns(3, 4)))
    draft.add_step(StepOutput(tokens=columns(3)))
    frame = draft.take_tokens(1, 2)
    assert frame is not None
    assert (frame.streams, frame.token_ids) == (tokens([3, 4, 3]), tokens([300, 400, 300]))
    assert draft.is_empty()
    assert draft.take_tokens(2, 2) is None


@pytest.mark.parametrize(
    "step",
    [
        StepOutput(tokens=columns(3, each=2)),
        StepOutput(adopted=[HandoffAdopted(3, "h", 1, 1.0)]),
        StepOutput(kv_changes=[KvChange((b"b", b"c"), b"", (), tokens([1, 2]), 1)]),
    ],
    ids=["two of a stream", "more than tokens", "a prompt's blocks"],
)
def test_a_worker_sends_a_message_for_any_other_step(step: StepOutput) -> None:
    draft = WorkerDraft()
    draft.add_step(StepOutput(tokens=columns(5)))
    draft.add_step(step)
    assert draft.take_tokens(1, 0) is None
    message = draft.take(1, 0)
    assert message.tokens.streams[:4] == tokens([5]).tobytes()
    assert draft.is_empty()


def test_growth_waits_for_the_fourth_load_report() -> None:
    draft = WorkerDraft()
    draft.add_step(StepOutput(tokens=columns(5), kv_changes=[GROWTH]))
    assert draft.take_tokens(1, 0) is not None
    assert draft.is_empty()
    assert draft.size_bytes() > 0
    draft.add_step(StepOutput(adopted=[HandoffAdopted(3, "h", 1, 1.0)]))
    assert not draft.take(2, 0).HasField("kv_events")
    for number in range(3, 6):
        draft.add_load(LoadReport())
        assert not draft.take(number, 0).HasField("kv_events")
    draft.add_load(LoadReport())
    assert len(draft.take(6, 0).kv_events.events) == 1
    assert draft.is_empty()
    assert draft.size_bytes() == 0


def test_blocks_of_an_adopted_prompt_wait_for_the_load_report() -> None:
    draft, prompt = WorkerDraft(), KvChange((b"b", b"c"), b"", (), tokens([1, 2]), 1)
    assert draft.add_step(StepOutput(adopted=[HandoffAdopted(3, "h", 1, 1.0)], kv_changes=[prompt]))
    assert not draft.take(1, 0).HasField("kv_events")
    for _ in range(LOADS_PER_KV):
        draft.add_load(LoadReport())
    assert len(draft.take(2, 0).kv_events.events) == 1
    assert draft.is_empty()


def test_nobody_waits_for_a_release_or_for_growth() -> None:
    draft = WorkerDraft()
    assert not draft.add_step(StepOutput(kv_changes=[GROWTH]))
    assert draft.is_empty()
    assert not draft.add_step(StepOutput(released=[HandoffReleased("h")]))
    assert not draft.is_empty()
    assert draft.add_step(StepOutput(tokens=columns(5)))
    assert draft.take_tokens(1, 0) is None
    message = draft.take(1, 0)
    assert len(message.released) == 1
    assert message.tokens.streams == tokens([5]).tobytes()


def test_a_worker_or_router_that_leaves_says_so_in_every_frame() -> None:
    draft, answers = WorkerDraft(), AnswerDraft()
    draft.drain()
    answers.leave()
    for _ in range(2):
        draft.add_step(StepOutput(tokens=columns(5)))
        answers.add_columns(columns(5))
        assert draft.take_tokens(1, 0) is None
        assert draft.take(1, 0).draining
        assert answers.take_tokens(1, 0) is None
        assert answers.take(1, 0).leaving
        assert draft.is_empty()
        assert answers.is_empty()


def test_a_router_sends_one_for_tokens_alone() -> None:
    draft = AnswerDraft()
    draft.add_columns(columns(1, 2))
    assert draft.take_tokens(1, 0) is not None
    draft.add_columns(columns(1, 2))
    draft.end(router_pb2.StreamEnded(stream=1))
    assert draft.take_tokens(2, 0) is None
    assert len(draft.take(2, 0).ended) == 1
    assert draft.is_empty()
