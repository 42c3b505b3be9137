"""vLLM's step outputs, as plain objects, become `StepOutput`s."""

import json
import time
from array import array
from types import SimpleNamespace
from typing import Any

import pytest

from services.common.domain import (
    FailureKind,
    FinishReason,
    HandoffAdopted,
    HandoffReleased,
    HandoffTicket,
    Job,
    JobFailed,
    JobFinished,
    JobKind,
    Sampling,
    Structured,
    StructuredKind,
)
from services.common.domain.tokens import tokens
from services.worker.engine.constraints import Constraints
from services.worker.engine.vllm.counters import Counters
from services.worker.engine.vllm.jobs import LiveJob
from services.worker.engine.vllm.outputs import Offers, Translator, to_logprobs

COUNTERS = (
    "bytes_transferred",
    "transfer_duration",
    "num_descriptors",
    "num_failed_transfers",
    "num_failed_handshakes",
    "num_failed_notifications",
    "num_kv_expired_reqs",
    "num_notifications_after_expiry",
    "pulling",
    "pulled",
    "failed",
    "settled",
    "freed",
    "expired",
)
PARAMS = {"remote_block_ids": [[1, 2, 3]], "remote_engine_id": "e", "do_remote_prefill": True}


def output(request_id: str, *ids: int, finish: str | None = None, **more: Any) -> SimpleNamespace:
    base = {"kv_transfer_params": None, "prefill_stats": None, "pooling_output": None, "stop_reason": None}
    return SimpleNamespace(
        request_id=request_id, new_token_ids=list(ids), finish_reason=finish, **(base | more)
    )


def step(*outputs: SimpleNamespace, **news: list[Any]) -> SimpleNamespace:
    stats = SimpleNamespace(kv_connector_stats={name: [] for name in COUNTERS} | news) if news else None
    return SimpleNamespace(outputs=list(outputs), scheduler_stats=stats, timestamp=time.monotonic())


@pytest.fixture
def dropped() -> list[str]:
    return []


@pytest.fixture
def aborted() -> list[str]:
    return []


@pytest.fixture
def translator(dropped: list[str], aborted: list[str]) -> Translator:
    return Translator({}, Offers(), Counters(), "engine", 1_000, 30_000, dropped.append, aborted.append)


def admit(
    translator: Translator,
    stream: int,
    kind: JobKind,
    *,
    offers: bool = False,
    sampling: Sampling | None = None,
) -> LiveJob:
    ticket = HandoffTicket("h", "p", b"", 3, 1_000) if kind is JobKind.ADOPT else None
    job = Job(stream, kind, "r", tokens([1, 2, 3]), sampling or Sampling(max_tokens=9), handoff=ticket)
    live = LiveJob(job, str(stream), offers=offers, text_tokens=3)
    translator.live[str(stream)] = live
    return live


def test_tokens_of_all_streams_are_packed_and_ends_follow(translator: Translator) -> None:
    admit(translator, 1, JobKind.LOCAL)
    admit(translator, 2, JobKind.LOCAL)
    got = translator.translate(step(output("1", 7), output("2", 8, 9, finish="stop"), output("3", 5)))
    assert list(got.tokens.streams) == [1, 2]
    assert list(got.tokens.counts) == [1, 2]
    assert list(got.tokens.token_ids) == [7, 8, 9]
    assert got.finished == [JobFinished(2, FinishReason.STOP)]
    assert set(translator.live) == {"1"}


def tensor(*numbers: float) -> Any:
    """As much of a tensor as is looked at."""
    made = SimpleNamespace(numpy=lambda: array("f", numbers))
    made.float = made.contiguous = lambda: made
    return made


def test_a_vector_is_its_job_s_end_unless_its_numbers_are_none(translator: Translator) -> None:
    admit(translator, 1, JobKind.EMBED)
    admit(translator, 2, JobKind.EMBED)
    outputs = (
        output("1", finish="stop", pooling_output=tensor(0.5, -0.25)),
        output("2", finish="stop", pooling_output=tensor(0.5, float("nan"))),
    )
    got = translator.translate(step(*outputs))
    assert got.finished == [JobFinished(1, FinishReason.STOP, vector=array("f", [0.5, -0.25]))]
    assert [(failed.stream, failed.kind) for failed in got.failed] == [(2, FailureKind.ENGINE)]
    assert not translator.live


def test_a_prefill_becomes_an_offer_with_its_first_token(translator: Translator) -> None:
    admit(translator, 4, JobKind.PREFILL, offers=True)
    [offer] = translator.translate(step(output("4", 42, finish="length", kv_transfer_params=PARAMS))).offered
    assert (offer.stream, offer.kv_tokens, offer.kv_blocks, offer.kv_size_bytes) == (4, 3, 3, 3_000)
    assert list(offer.token_ids) == [42]
    assert json.loads(offer.connector_params) == PARAMS
    assert 29_000 < offer.lease_ms <= 30_000


def test_freed_blocks_are_reported_once_and_only_for_offers(translator: Translator) -> None:
    admit(translator, 4, JobKind.PREFILL, offers=True)
    [offer] = translator.translate(step(output("4", 42, finish="length", kv_transfer_params=PARAMS))).offered
    first = translator.translate(step(freed=["4", "unknown"], expired=["4"]))
    again = translator.translate(step(freed=["4"]))
    assert first.released == [HandoffReleased(offer.handoff_id, expired=True)]
    assert again.released == []


def test_a_prefill_that_promised_an_offer_and_made_none_has_failed(translator: Translator) -> None:
    admit(translator, 4, JobKind.PREFILL, offers=True)
    [failed] = translator.translate(step(output("4", 42, finish="length"))).failed
    assert failed.kind is FailureKind.ENGINE


def test_the_offer_of_an_aborted_prefill_is_dropped(translator: Translator, dropped: list[str]) -> None:
    got = translator.translate(step(output("4", 42, finish="length", kv_transfer_params=PARAMS)))
    assert got.offered == []
    assert dropped == ["4"]


def test_an_adoption_adds_up_all_ranks(translator: Translator) -> None:
    admit(translator, 5, JobKind.ADOPT)
    translator.translate(step(pulled=[["5", 100, 0.002, "tcp (tcp/eth0)"]]))
    got = translator.translate(step(pulled=[["5", 150, 0.001, ""]], settled=["5"], bytes_transferred=[150]))
    assert got.adopted == [HandoffAdopted(5, "h", 250, pytest.approx(2.0), "tcp (tcp/eth0)")]
    assert translator.counters.totals["nixl_bytes"] == 150


def test_an_adoption_out_of_the_own_prefix_cache_moves_nothing(translator: Translator) -> None:
    admit(translator, 5, JobKind.ADOPT)
    got = translator.translate(step(output("5", 7)))
    assert got.adopted == [HandoffAdopted(5, "h", 0, 0.0)]
    assert list(got.tokens.token_ids) == [7]


def test_a_failed_pull_is_the_handoffs_fault_and_never_an_adoption(translator: Translator) -> None:
    admit(translator, 5, JobKind.ADOPT)
    got = translator.translate(step(output("5", finish="error"), settled=["5"]))
    assert got.failed == [JobFailed(5, FailureKind.HANDOFF, "the KV could not be pulled")]
    assert got.adopted == []


def test_a_failed_pull_says_what_the_connector_said(translator: Translator) -> None:
    admit(translator, 5, JobKind.ADOPT)
    got = translator.translate(step(output("5", finish="error"), failed=[["5", "firewall: no answer"]]))
    assert got.failed == [JobFailed(5, FailureKind.HANDOFF, "firewall: no answer")]


@pytest.mark.parametrize("finish", ["error", "abort"])
def test_after_adoption_it_is_the_engines_fault(translator: Translator, finish: str) -> None:
    admit(translator, 5, JobKind.ADOPT).adopted = True
    [failed] = translator.translate(step(output("5", finish=finish))).failed
    assert failed.kind is FailureKind.ENGINE


SHAPED = Sampling(max_tokens=9, min_tokens=2, structured=Structured(StructuredKind.GRAMMAR, "root ::= root"))


@pytest.mark.parametrize("kind", [JobKind.LOCAL, JobKind.PREFILL, JobKind.ADOPT])
def test_a_grammar_without_a_token_is_its_request_s_fault(translator: Translator, kind: JobKind) -> None:
    """An adoption, too, has a grammar made for it before it pulls."""
    admit(translator, 5, kind, offers=kind is JobKind.PREFILL, sampling=SHAPED)
    [failed] = translator.translate(step(output("5", 3, finish="error"))).failed
    assert (failed.kind, failed.field) == (FailureKind.INVALID, "structured_outputs")
    assert "together with min_tokens" in failed.message


def test_a_pull_that_fails_beside_a_grammar_is_a_handoff_s_fault(translator: Translator) -> None:
    admit(translator, 5, JobKind.ADOPT, sampling=SHAPED)
    admit(translator, 6, JobKind.ADOPT, sampling=SHAPED)
    translator.translate(step(pulling=["5"]))
    got = translator.translate(step(output("5", finish="error"), output("6", finish="error"), pulling=["6"]))
    assert [failed.kind for failed in got.failed] == [FailureKind.HANDOFF] * 2


def test_the_engine_s_word_on_a_grammar_reaches_the_caller(translator: Translator) -> None:
    admit(translator, 1, JobKind.LOCAL, sampling=SHAPED)
    ended = output("1", 4, finish="error", stop_reason="its grammar takes too long")
    got = translator.translate(step(ended))
    message = "structured_outputs: its grammar takes too long"
    assert got.failed == [JobFailed(1, FailureKind.INVALID, message, "structured_outputs")]
    assert not got.tokens.streams


@pytest.mark.parametrize("finish", [None, "length"])
def test_a_forbidden_token_shows_that_none_was_left(
    translator: Translator, aborted: list[str], finish: str | None
) -> None:
    rules = Sampling(max_tokens=9, allowed_token_ids=(5, 6), bad_words=((5, 6), (6,)))
    live = admit(translator, 1, JobKind.LOCAL, sampling=rules)
    live.constraints = Constraints.of(rules, {2}, tokens())
    assert list(translator.translate(step(output("1", 5))).tokens.token_ids) == [5]
    got = translator.translate(step(output("1", 0, finish=finish)))
    message = "allowed_token_ids: leaves no token to go on with together with bad_words"
    assert got.failed == [JobFailed(1, FailureKind.INVALID, message, "allowed_token_ids")]
    assert not got.tokens.streams
    assert aborted == ([] if finish else ["1"])


def test_an_offer_whose_token_is_forbidden_is_dropped(translator: Translator, dropped: list[str]) -> None:
    rules = Sampling(max_tokens=9, bad_words=((42,),))
    live = admit(translator, 4, JobKind.PREFILL, offers=True, sampling=rules)
    live.constraints = Constraints.of(rules, set(), tokens())
    got = translator.translate(step(output("4", 42, finish="length", kv_transfer_params=PARAMS)))
    assert [failed.field for failed in got.failed] == ["bad_words"]
    assert not got.offered
    assert dropped == ["4"]


def test_replayed_tokens_are_not_told_again(translator: Translator, aborted: list[str]) -> None:
    admit(translator, 1, JobKind.LOCAL).replay = [5, 6, 7]
    told = [translator.translate(step(output("1", *ids))).tokens.token_ids for ids in ((5, 6), (7, 8), (9,))]
    assert [list(ids) for ids in told] == [[], [8], [9]]
    assert not aborted


def test_an_engine_that_replays_other_tokens_has_failed(translator: Translator, aborted: list[str]) -> None:
    admit(translator, 1, JobKind.LOCAL).replay = [5, 6, 7]
    translator.translate(step(output("1", 5)))
    got = translator.translate(step(output("1", 8)))
    assert [failed.kind for failed in got.failed] == [FailureKind.ENGINE]
    assert not got.tokens.streams
    assert aborted == ["1"]
    assert not translator.translate(step(output("1", 9))).has_news()


def test_logprobs_are_cut_to_what_was_asked_and_not_replayed() -> None:
    """A step's rows are as wide as its most demanding request, and begin with the chosen token."""
    numpy = pytest.importorskip("numpy")
    rows = SimpleNamespace(
        logprob_token_ids=numpy.array([[7, 7, 8, 9], [5, 6, 5, 4], [3, 1, 2, 3]]),
        logprobs=numpy.array(
            [[-0.5, -0.5, -1.0, -2.0], [-1.5, -0.25, -1.5, -3.0], [-4.0, -0.125, -2.0, -4.0]]
        ),
    )
    told = to_logprobs(rows, 2, 2)
    assert (list(told.chosen), list(told.top_ids)) == ([-1.5, -4.0], [6, 5, 1, 2])
    assert list(told.top) == [-0.25, -1.5, -0.125, -2.0]
    bare = to_logprobs(rows, 0, 3)
    assert (len(bare), len(bare.top_ids), len(bare.top)) == (3, 0, 0)
