"""What a request's sampling rules out, and whether what an engine says shows that it left nothing.

An engine whose every token is ruled out does not say so: it says some token all the same. A token that the
sampling forbids is therefore the sign that there was none to choose, and the request asks for what cannot be.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from services.common.domain import FailureKind, JobFailed, Sampling
from services.common.domain.tokens import no_tokens

STRUCTURE = "structured_outputs"


@dataclass(slots=True)
class Constraints:
    """Follows one job's tokens. Token ids that a grammar forbids are the engine's own to find."""

    allowed: Set[int]
    """Empty: all are."""
    bad_words: Mapping[int, Sequence[tuple[int, ...]]]
    """By their last tokens."""
    min_tokens: int
    stop_ids: Set[int]
    """Tokens that end the answer, end-of-sequence included; none comes before `min_tokens`."""
    said: "array[int]" = field(default_factory=no_tokens)
    """The answer so far, delivered tokens included."""

    @classmethod
    def of(cls, sampling: Sampling, stop_ids: Set[int], delivered: "array[int]") -> "Constraints | None":
        """Those of a job; `None` for one that may say anything, as most may, and for one whose reasoning is
        cut off by tokens that nobody chose."""
        if sampling.thinking_tokens_max is not None:
            return None
        if not (sampling.allowed_token_ids or sampling.bad_words or sampling.min_tokens):
            return None
        by_end: dict[int, list[tuple[int, ...]]] = {}
        for word in sampling.bad_words:
            by_end.setdefault(word[-1], []).append(word)
        return cls(frozenset(sampling.allowed_token_ids), by_end, sampling.min_tokens, stop_ids, delivered[:])

    def broken_by(self, ids: Iterable[int]) -> str:
        """The field that the answer's next tokens break; empty where they keep all."""
        for token_id in ids:
            name = self._broken_by(token_id)
            if name:
                return name
            self.said.append(token_id)
        return ""

    def _broken_by(self, token_id: int) -> str:
        if self.allowed and token_id not in self.allowed:
            return "allowed_token_ids"
        if len(self.said) < self.min_tokens and token_id in self.stop_ids:
            return "min_tokens"
        return "bad_words" if any(map(self._completes, self.bad_words.get(token_id, ()))) else ""

    def _completes(self, word: tuple[int, ...]) -> bool:
        before = len(word) - 1
        return before == 0 or tuple(self.said[-before:]) == word[:-1]


def nothing_left(stream: int, sampling: Sampling, broken: str = "") -> JobFailed:
    """The end of a job whose constraints, together, leave no token to say.

    `broken` is the field that shows it, where that is known.
    """
    fields = {
        STRUCTURE: sampling.structured is not None,
        "allowed_token_ids": bool(sampling.allowed_token_ids),
        "bad_words": bool(sampling.bad_words),
        "min_tokens": bool(sampling.min_tokens),
    }
    named = [name for name, is_set in fields.items() if is_set] or [broken or STRUCTURE]
    at = broken or named[0]
    others = [name for name in named if name != at]
    together = f" together with {' and '.join(others)}" if others else ""
    message = f"{at}: leaves no token to go on with{together}"
    return JobFailed(stream, FailureKind.INVALID, message, at)
