"""What one request's grammar may cost its engine; the grammar here costs what the test says."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from services.worker.engine.vllm.grammars import REMEMBERED_MS, Allowances, BoundedGrammar

TOKEN_MS, BURST_MS = 5, 100


class Costly:
    """Takes `ms` of the thread's processor time for every mask."""

    def __init__(self, ms: float = 0.0) -> None:
        self.ms = ms
        self.masks = 0

    def fill_bitmask(self, bitmask: Any, row: int) -> None:
        self.masks += 1
        end = time.thread_time() + self.ms / 1_000
        while time.thread_time() < end:
            pass

    def accept_tokens(self, _request_id: str, _tokens: list[int]) -> bool:
        return True

    def validate_tokens(self, tokens: list[int]) -> list[int]:
        return tokens

    def is_terminated(self) -> bool:
        return False


class Broken(Costly):
    def fill_bitmask(self, bitmask: Any, row: int) -> None:
        raise RuntimeError(
            "[11:21:28] /project/cpp/earley_parser.cc:12: Maximum recursion depth exceeded\nmore"
        )


class Row:
    """One row of a mask."""

    def __init__(self) -> None:
        self.value = 0

    def fill_(self, value: int) -> None:
        self.value = value


class Now:
    ms = 0.0

    def __call__(self) -> float:
        return self.ms


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def allowances(now: Now) -> Allowances:
    return Allowances(TOKEN_MS, BURST_MS, now)


def request(key: str = "grammar") -> Any:
    structure = SimpleNamespace(structured_output_key=key)
    return SimpleNamespace(structured_output_request=structure, stop_reason=None)


def run(grammar: BoundedGrammar, tokens: int) -> int:
    """Tokens that the engine gets from it, of so many."""
    for number in range(tokens):
        mask = [Row()]
        grammar.fill_bitmask(mask, 0)
        if not grammar.accept_tokens("r", [number]):
            return number
    return tokens


def test_a_quick_grammar_runs_for_ever(allowances: Allowances) -> None:
    asked, inner = request(), Costly()
    assert run(BoundedGrammar(lambda: inner, asked, allowances), 2_000) == 2_000
    assert asked.stop_reason is None


@pytest.mark.parametrize("cost_ms", [20.0, 60.0, 150.0])
def test_a_slow_grammar_ends_within_its_allowance(allowances: Allowances, cost_ms: float) -> None:
    asked, inner = request(), Costly(cost_ms)
    grammar = BoundedGrammar(lambda: inner, asked, allowances)
    got = run(grammar, 1_000)
    assert got <= BURST_MS / (cost_ms - TOKEN_MS) + 1
    assert "5 ms a token" in asked.stop_reason
    masks, row = inner.masks, Row()
    grammar.fill_bitmask([row], 0)
    assert (inner.masks, row.value) == (masks, -1)
    assert not grammar.is_terminated()
    assert grammar.validate_tokens([1]) == []


def test_slow_grammars_share_what_tokens_add(allowances: Allowances) -> None:
    """Each alone would be allowed its 5 ms a token for ever; a step waits for all."""
    grammars = [BoundedGrammar(lambda: Costly(), request(str(i)), allowances) for i in range(4)]
    for grammar in grammars:
        grammar.left_ms = BURST_MS / 4
    assert [allowances.growth_ms(grammar) for grammar in grammars] == [5.0, 2.5, 5.0 / 3, 1.25]
    grammars[0].left_ms = BURST_MS
    assert allowances.growth_ms(grammars[0]) == TOKEN_MS
    assert allowances.growth_ms(grammars[1]) == TOKEN_MS / 3


def test_a_slow_grammar_is_not_tried_again_at_once(allowances: Allowances, now: Now) -> None:
    run(BoundedGrammar(lambda: Costly(150.0), request(), allowances), 9)
    made: list[Costly] = []

    def make() -> Costly:
        made.append(Costly())
        return made[-1]

    again = request()
    assert run(BoundedGrammar(make, again, allowances), 9) == 0
    assert "5 ms a token" in again.stop_reason
    assert not made
    assert run(BoundedGrammar(make, request("another"), allowances), 9) == 9
    now.ms += REMEMBERED_MS + 1
    assert run(BoundedGrammar(make, request(), allowances), 9) == 9


def test_what_a_grammar_raises_ends_its_request_alone(allowances: Allowances) -> None:
    asked = request()
    assert run(BoundedGrammar(Broken, asked, allowances), 9) == 0
    assert asked.stop_reason == "Maximum recursion depth exceeded"


def test_a_grammar_that_cannot_be_made_says_why(allowances: Allowances) -> None:
    def fail() -> Any:
        raise ValueError("enum array must not be empty")

    asked = request()
    assert run(BoundedGrammar(fail, asked, allowances), 9) == 0
    assert asked.stop_reason == "enum array must not be empty"
