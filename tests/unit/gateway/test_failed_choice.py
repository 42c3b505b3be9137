"""A choice that fails keeps what the router said of it, for the log and the accounts."""

from unittest import mock

from services.common.domain import Receipt
from services.common.errors import DeadlinePassed
from services.gateway.call.choice import Choice


def test_the_receipt_of_a_failed_choice_is_there_when_its_answer_ends() -> None:
    seen: list[Receipt] = []
    whole = mock.Mock()
    whole.failed = lambda choice, _error: seen.append(choice.receipt)
    choice = Choice(0, mock.Mock(is_stopped=False), whole)
    receipt = Receipt("r", queue_ms=900.0, decode_worker="d")
    choice.on_failed(DeadlinePassed("late"), receipt)
    assert seen == [receipt]


def test_a_choice_that_fails_without_a_receipt_keeps_the_empty_one() -> None:
    choice = Choice(0, mock.Mock(is_stopped=False), mock.Mock())
    choice.on_failed(DeadlinePassed("late"))
    assert choice.receipt.request_id == ""
