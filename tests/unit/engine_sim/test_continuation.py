"""Tokens depend on the prompt and the position, and on nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from services.common.domain import FinishReason, Sampling
from services.common.domain.tokens import tokens
from services.worker.engine.sim import Vocabulary, expected_tokens
from services.worker.engine.sim.continuation import Continuation

PROMPT = tokens([5, 6, 7])


def answer(sampling: Sampling, vocabulary: Vocabulary | None = None, **rules: float) -> Continuation:
    return Continuation(PROMPT, sampling, vocabulary or Vocabulary(), length_max=1_000, **rules)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=10))
def test_pieces_make_the_whole(sizes: list[int]) -> None:
    total = sum(sizes)
    whole = answer(Sampling(max_tokens=total + 1))
    pieces = tokens()
    for size in sizes:
        pieces += whole.run(len(pieces), size)[0]
    assert pieces == expected_tokens(PROMPT, total)


def test_prompts_differ_in_their_answers() -> None:
    assert expected_tokens(PROMPT, 20) != expected_tokens(tokens([5, 6, 8]), 20)


def test_tokens_stay_in_the_vocabulary_and_are_never_its_end() -> None:
    words = Vocabulary(first=10, size=5, eos_token_id=12)
    assert set(expected_tokens(PROMPT, 300, words)) == {10, 11, 13, 14}


def test_ends_at_max_tokens() -> None:
    ids, finish = answer(Sampling(max_tokens=7)).run(0, 100)
    assert (len(ids), finish) == (7, FinishReason.LENGTH)
    assert answer(Sampling(max_tokens=7)).run(0, 6)[1] is None


def test_stop_token_ends_and_is_part_of_the_answer() -> None:
    plain = expected_tokens(PROMPT, 10)
    ids, finish = answer(Sampling(max_tokens=10, stop_token_ids=(plain[4],))).run(0, 10)
    assert (ids, finish) == (plain[: plain.index(plain[4]) + 1], FinishReason.STOP)


def test_min_tokens_keeps_stop_tokens_away() -> None:
    plain = expected_tokens(PROMPT, 10)
    sampling = Sampling(max_tokens=10, min_tokens=10, stop_token_ids=tuple(plain))
    ids, finish = answer(sampling).run(0, 10)
    assert finish is FinishReason.LENGTH
    assert not set(ids) & set(plain)


def test_own_end_of_sequence() -> None:
    words = Vocabulary(size=100, eos_token_id=100)
    rules = Sampling(max_tokens=1_000)
    ids, finish = answer(rules, words, mean_output_tokens=30).run(0, 1_000)
    assert (ids[-1], finish) == (100, FinishReason.STOP)
    assert 100 not in ids[:-1]
    longer = Sampling(max_tokens=1_000, min_tokens=len(ids) + 5)
    assert len(answer(longer, words, mean_output_tokens=30).run(0, 1_000)[0]) == len(ids) + 6
    ignoring = Sampling(max_tokens=1_000, ignore_eos=True)
    assert answer(ignoring, words, mean_output_tokens=30).run(0, 1_000)[1] is FinishReason.LENGTH


def test_mean_length_is_about_what_was_asked() -> None:
    words = Vocabulary(size=100, eos_token_id=100)
    lengths = [
        len(
            Continuation(
                tokens([n]), Sampling(max_tokens=10_000), words, length_max=10_000, mean_output_tokens=50
            ).run(0, 10_000)[0]
        )
        for n in range(400)
    ]
    assert 40 < sum(lengths) / len(lengths) < 60
