"""Each session gets its own part of a step, in its own numbers, and nobody else's."""

import pytest

from services.common.domain import (
    FailureKind,
    FinishReason,
    HandoffAdopted,
    HandoffOffered,
    HandoffReleased,
    JobFailed,
    JobFinished,
    KvChange,
    StepOutput,
    TokenColumns,
    TokenLogprobs,
)
from services.common.domain.logprobs import logprobs
from services.common.domain.tokens import tokens
from services.worker.jobs import JobTable
from services.worker.sharing import share


def offer(stream: int, handoff_id: str) -> HandoffOffered:
    return HandoffOffered(stream, handoff_id, b"{}", 8, 1, 64, 1_000, tokens([5]))


def test_a_step_is_divided_in_each_sessions_numbers() -> None:
    jobs = JobTable[str]()
    a1, b1, b2 = jobs.open("a", 1), jobs.open("b", 1), jobs.open("b", 2)
    step = StepOutput(
        adopted=[HandoffAdopted(b2, "h", 64, 1.5)],
        tokens=TokenColumns(tokens([b1, a1, b2]), tokens([1, 2, 1]), tokens([10, 20, 21, 30])),
        finished=[JobFinished(a1, FinishReason.STOP)],
        failed=[JobFailed(b2, FailureKind.ENGINE, "broken")],
    )
    parts = share(step, jobs, ["a", "b"])
    assert parts["a"].tokens == TokenColumns(tokens([1]), tokens([2]), tokens([20, 21]))
    assert parts["b"].tokens == TokenColumns(tokens([1, 2]), tokens([1, 1]), tokens([10, 30]))
    assert parts["a"].finished == [JobFinished(1, FinishReason.STOP)]
    assert parts["b"].failed == [JobFailed(2, FailureKind.ENGINE, "broken")]
    assert parts["b"].adopted == [HandoffAdopted(2, "h", 64, 1.5)]
    assert len(jobs) == 1
    assert (jobs.open_streams("a"), jobs.open_streams("b")) == ([], [1])


def test_logprobs_go_with_their_tokens() -> None:
    jobs = JobTable[str]()
    a1, b1, gone = jobs.open("a", 1), jobs.open("b", 5), jobs.open("b", 6)
    jobs.close(gone)
    columns = TokenColumns()
    for stream in (a1, b1, gone):
        columns.add_one(stream, stream)
    one = TokenLogprobs(1, logprobs([-0.5]), tokens([3]), logprobs([-0.25]))
    for stream in (b1, gone):
        columns.add_logprobs(stream, one)
    parts = share(StepOutput(tokens=columns), jobs, ["a", "b"])
    assert parts["a"].tokens.logprobs is None
    assert parts["b"].tokens.is_well_formed()
    assert parts["b"].tokens.logprobs is not None
    assert parts["b"].tokens.logprobs.by_stream() == {5: one}


def test_news_of_an_ended_job_is_dropped() -> None:
    jobs = JobTable[str]()
    mine = jobs.open("a", 1)
    assert jobs.close_named("a", [1, 1, 9]) == [mine]
    step = StepOutput(
        tokens=TokenColumns(tokens([mine]), tokens([1]), tokens([10])),
        finished=[JobFinished(mine, FinishReason.STOP)],
        offered=[offer(mine, "h")],
    )
    assert share(step, jobs, ["a"]) == {}
    assert jobs.offers == 0


def test_a_release_goes_to_the_offers_owner_once() -> None:
    jobs = JobTable[str]()
    share(StepOutput(offered=[offer(jobs.open("a", 7), "h")]), jobs, ["a", "b"])
    assert jobs.owns_offer("a", "h")
    assert not jobs.owns_offer("b", "h")
    released = StepOutput(released=[HandoffReleased("h")])
    assert share(released, jobs, ["a", "b"])["a"].released == [HandoffReleased("h")]
    assert share(released, jobs, ["a", "b"]) == {}


def test_cache_changes_go_to_everybody() -> None:
    change = KvChange(removed_block_hashes=(b"12345678",))
    parts = share(StepOutput(kv_changes=[change]), JobTable[str](), ["a", "b"])
    assert [part.kv_changes for part in parts.values()] == [[change], [change]]


def test_the_end_of_a_session_ends_what_it_had_and_no_more() -> None:
    jobs = JobTable[str]()
    a1, a2, b1 = jobs.open("a", 1), jobs.open("a", 2), jobs.open("b", 1)
    jobs.add_offer("a", "h")
    jobs.add_offer("b", "i")
    streams, offers = jobs.end("a")
    assert (sorted(streams), offers) == ([a1, a2], ["h"])
    assert jobs.end("a") == ([], [])
    assert jobs.seat(b1) == ("b", 1)
    assert jobs.owns_offer("b", "i")


def test_stream_numbers_go_round_without_meeting_a_live_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.worker.jobs.STREAMS_MAX", 4)
    jobs = JobTable[str]()
    held = jobs.open("a", 1)
    for wire_stream in range(2, 20):
        engine_stream = jobs.open("a", wire_stream)
        assert 1 <= engine_stream <= 4
        assert engine_stream != held
        jobs.close(engine_stream)
