"""How likely the simulated model says its tokens were: a pure function of the token."""

from collections.abc import Iterable

from services.common.domain import TokenLogprobs
from services.common.domain.logprobs import logprobs
from services.common.domain.tokens import tokens
from services.worker.engine.sim.continuation import Vocabulary

STEP = 0.125
"""Distance between two logprobs; a power of two, so that 32 bits hold them exactly."""
LIKELY_TOKENS = 16


def describe(ids: Iterable[int], alternatives: int, vocabulary: Vocabulary) -> TokenLogprobs:
    """Logprobs of these tokens: each is the most likely one of its place, and its neighbours follow it."""
    told = TokenLogprobs(alternatives)
    for token_id in ids:
        chosen = -STEP * (1 + token_id % LIKELY_TOKENS)
        told.chosen.append(chosen)
        if alternatives:
            beside = (vocabulary.first + (token_id + i) % vocabulary.size for i in range(1, alternatives))
            told.top_ids.extend(tokens([token_id, *beside]))
            told.top.extend(logprobs([chosen - STEP * i for i in range(alternatives)]))
    return told
