"""Bounds on what a request's grammar may cost the steps of its engine. Runs in vLLM's engine process.

A step waits for the token masks of all its grammars, and an ambiguous grammar's masks take longer with every
token. So each grammar has an allowance of processor time that grows with its tokens; past it that request
alone ends. Whatever a grammar library raises ends that request too, and not the engine.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakSet

from services.worker.engine.vllm.complaints import in_short

T = TypeVar("T")
ALL_TOKENS = -1
"""A mask of nothing but ones."""
REMEMBERED_MAX = 1_000
REMEMBERED_MS = 60_000.0
"""How long a grammar that was too slow is refused without being tried again."""


class GrammarTooSlow(Exception):
    """A grammar has used up its allowance, now or not long ago."""


class Allowances:
    """What the grammars of one engine may cost.

    Each has `burst_ms` to begin with and `token_ms` more with every token; those that have used up half of
    their burst share one such growth, since a step waits for all of them.
    """

    def __init__(self, token_ms: float, burst_ms: float, now_ms: Callable[[], float]) -> None:
        self.token_ms, self.burst_ms = token_ms, burst_ms
        self._now_ms = now_ms
        self._slow: WeakSet[BoundedGrammar] = WeakSet()
        self._refused: OrderedDict[object, float] = OrderedDict()
        """Until when what was too slow is refused."""

    @property
    def why(self) -> str:
        """What a request is told that goes beyond."""
        return (
            f"its grammar takes the engine more than {self.token_ms:g} ms a token after the first "
            f"{self.burst_ms:g} ms, which delays all others; make it less ambiguous"
        )

    def check(self, key: object) -> None:
        """Raise `GrammarTooSlow` for a grammar that was so not long ago."""
        if self._refused.get(key, 0.0) > self._now_ms():
            raise GrammarTooSlow(self.why)

    def growth_ms(self, grammar: "BoundedGrammar") -> float:
        """What the next token adds to a grammar's allowance."""
        if grammar.left_ms < self.burst_ms / 2:
            self._slow.add(grammar)
            return self.token_ms / len(self._slow)
        self._slow.discard(grammar)
        return self.token_ms

    def refuse(self, grammar: "BoundedGrammar") -> None:
        """Take note that a grammar was too slow."""
        self._slow.discard(grammar)
        self._refused[grammar.key] = self._now_ms() + REMEMBERED_MS
        self._refused.move_to_end(grammar.key)
        if len(self._refused) > REMEMBERED_MAX:
            self._refused.popitem(last=False)


class BoundedGrammar:
    """One request's grammar with its allowance, as vLLM's `StructuredOutputGrammar`.

    Once it is over, any token is let through and none accepted: vLLM ends a request whose token its grammar
    does not accept.
    """

    def __init__(self, make: Callable[[], Any], request: Any, allowances: Allowances) -> None:
        self.key = request.structured_output_request.structured_output_key
        self.left_ms = allowances.burst_ms
        self._request, self._allowances = request, allowances
        self._is_over = False
        try:
            allowances.check(self.key)
            self._grammar = make()
        except Exception as error:  # whatever it is, there is no grammar, and the caller is told why
            self._end(str(error))

    def accept_tokens(self, request_id: str, tokens: list[int]) -> bool:
        """Whether the grammar takes the tokens, at a cost that is allowed."""
        for _ in tokens:
            growth_ms = self._allowances.growth_ms(self)
            self.left_ms = min(self.left_ms + growth_ms, self._allowances.burst_ms)
        return bool(self._run(lambda: self._grammar.accept_tokens(request_id, tokens), False))

    def validate_tokens(self, tokens: list[int]) -> list[int]:
        """The first tokens that the grammar would take."""
        return list(self._run(lambda: self._grammar.validate_tokens(tokens), []))

    def rollback(self, num_tokens: int) -> None:
        """Take tokens back."""
        self._run(lambda: self._grammar.rollback(num_tokens), None)

    def fill_bitmask(self, bitmask: Any, batch_index: int) -> None:
        """Write the mask of the next token into row `batch_index` of int32 [rows, vocabulary / 32]."""
        self._run(lambda: self._grammar.fill_bitmask(bitmask, batch_index), None)
        if self._is_over:
            bitmask[batch_index].fill_(ALL_TOKENS)

    def is_terminated(self) -> bool:
        """Whether the answer is complete; one that is over is not, so that its token is asked about."""
        return not self._is_over and bool(self._grammar.is_terminated())

    def reset(self) -> None:
        """Begin anew."""
        self._run(self._grammar.reset, None)

    def _run(self, work: Callable[[], T], otherwise: T) -> T:
        """What `work` returns if that is allowed; the thread's processor time is what counts, as others' work
        on the same cores is not the grammar's fault."""
        if self._is_over:
            return otherwise
        began_ns = time.thread_time_ns()
        try:
            done = work()
        except Exception as error:  # of one grammar: the engine would end with all requests
            self._end(str(error))
            return otherwise
        self.left_ms -= (time.thread_time_ns() - began_ns) / 1e6
        if self.left_ms >= 0.0:
            return done
        self._allowances.refuse(self)
        self._end(self._allowances.why)
        return otherwise

    def _end(self, why: str) -> None:
        self._is_over = True
        self._request.stop_reason = in_short(why)


def bound_grammars(token_ms: float, burst_ms: float) -> None:
    """Give every grammar of this process's engine an allowance."""
    from vllm.v1.structured_output import StructuredOutputManager

    allowances = Allowances(token_ms, burst_ms, lambda: time.monotonic() * 1_000)
    stock = StructuredOutputManager._create_grammar

    def create(manager: Any, request: Any) -> BoundedGrammar:
        return BoundedGrammar(lambda: stock(manager, request), request, allowances)

    StructuredOutputManager._create_grammar = create
