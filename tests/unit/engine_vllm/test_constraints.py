"""Tokens that show that a request's constraints left none."""

import pytest

from services.common.domain import Sampling
from services.common.domain.tokens import tokens
from services.worker.engine.constraints import Constraints

EOS = 2


def broken(sampling: Sampling, ids: list[int], delivered: tuple[int, ...] = ()) -> str:
    constraints = Constraints.of(sampling, {EOS, *sampling.stop_token_ids}, tokens(delivered))
    return constraints.broken_by(ids) if constraints is not None else ""


@pytest.mark.parametrize(
    ("sampling", "ids", "field"),
    [
        (Sampling(9), [0, 1, 2], ""),
        (Sampling(9, allowed_token_ids=(5, 6)), [5, 6, 5], ""),
        (Sampling(9, allowed_token_ids=(5, 6)), [5, 7], "allowed_token_ids"),
        (Sampling(9, bad_words=((5,), (7, 8))), [7, 7, 6, 8], ""),
        (Sampling(9, bad_words=((5,), (7, 8))), [7, 5], "bad_words"),
        (Sampling(9, bad_words=((5,), (7, 8))), [7, 7, 8], "bad_words"),
        (Sampling(9, min_tokens=2), [1, 1, EOS], ""),
        (Sampling(9, min_tokens=2), [1, EOS], "min_tokens"),
        (Sampling(9, min_tokens=1, stop_token_ids=(4,)), [4], "min_tokens"),
        (Sampling(9, min_tokens=2, thinking_tokens_max=1), [EOS], ""),
    ],
)
def test_what_is_forbidden_is_noticed(sampling: Sampling, ids: list[int], field: str) -> None:
    assert broken(sampling, ids) == field


def test_delivered_tokens_count() -> None:
    assert broken(Sampling(9, min_tokens=3), [EOS], delivered=(1, 1, 1)) == ""
    assert broken(Sampling(9, min_tokens=3), [EOS], delivered=(1, 1)) == "min_tokens"
    assert broken(Sampling(9, bad_words=((7, 8, 9),)), [9], delivered=(7, 8)) == "bad_words"
    assert broken(Sampling(9, bad_words=((7, 8, 9),)), [9], delivered=(8,)) == ""
