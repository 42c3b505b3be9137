"""Requests that are submitted again after their router was lost."""

from array import array

from services.common.domain import Request, Sampling
from services.common.domain.tokens import tokens
from services.gateway.links.streams import LiveStream

PROMPT = tokens([1, 2, 3])


def live_stream(deadline_ms: int | None) -> LiveStream:
    request = Request("r", "m", PROMPT, Sampling(10), deadline_ms=deadline_ms)
    return LiveStream(0, request, sink=None, final_ids=frozenset(), submitted_ms=1_000.0)


def test_a_deadline_does_not_begin_anew() -> None:
    live = live_stream(30_000)
    assert live.resumed_request(26_000.0).deadline_ms == 30_000
    live.number, live.delivered = 1, array("I", [7])
    again = live.resumed_request(26_000.0)
    assert (again.deadline_ms, again.resubmitted, list(again.delivered)) == (5_000, True, [7])
    assert live.resumed_request(99_000.0).deadline_ms == 1
    assert live.left_ms(32_000.0) == -1_000.0


def test_without_a_deadline_there_is_none_again() -> None:
    live = live_stream(None)
    live.number = 1
    assert live.resumed_request(26_000.0).deadline_ms is None
