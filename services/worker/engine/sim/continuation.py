"""What the simulated model says: tokens as a pure function of the original prompt and the position."""

import copy
import math
from array import array
from dataclasses import dataclass
from hashlib import blake2b

from services.common.domain import FinishReason, Sampling
from services.common.domain.tokens import from_bytes, to_bytes, tokens
from services.worker.engine.sim.blocks import adapter_key

TOKENS_PER_DIGEST = 16
"""One 64-byte digest yields this many tokens, which keeps the cost per token near 0.1 us."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The token ids that the model speaks, `first` to `first + size - 1`, and its end-of-sequence."""

    first: int = 0
    size: int = 32_000
    eos_token_id: int | None = None

    def next_allowed(self, token_id: int, forbidden: frozenset[int]) -> int:
        """`token_id`, or the nearest one above it (wrapping) that is not forbidden."""
        for step in range(self.size):
            candidate = self.first + (token_id - self.first + step) % self.size
            if candidate not in forbidden:
                return candidate
        return token_id


class Continuation:
    """The one answer to a prompt under given sampling rules, or `fixed` and the end.

    Temperature, seeds and penalties change nothing. Of a bad word the last token is never said, wherever.
    Position 0 is the first generated token, wherever and in however many pieces it is generated, so that
    moved and resumed streams can be checked.
    """

    def __init__(
        self,
        prompt: "array[int]",
        sampling: Sampling,
        vocabulary: Vocabulary,
        *,
        length_max: int,
        mean_output_tokens: float = 0.0,
        lora: str = "",
        fixed: "array[int] | None" = None,
    ) -> None:
        self._key = blake2b(to_bytes(prompt), digest_size=32, key=adapter_key(lora)).digest()
        self._vocabulary = vocabulary
        self._fixed = fixed
        eos = set() if vocabulary.eos_token_id is None else {vocabulary.eos_token_id}
        self._never = frozenset(eos | {word[-1] for word in sampling.bad_words})
        self._allowed = tuple(sorted(set(sampling.allowed_token_ids) - self._never))
        self.is_impossible = self._leaves_nothing(sampling)
        """Whether its sampling rules out every token."""
        self._stops = frozenset(sampling.stop_token_ids)
        self._min_tokens = sampling.min_tokens
        self._length_max = min(sampling.max_tokens, length_max)
        self._eos_position = self._draw_eos(sampling, mean_output_tokens) if fixed is None else len(fixed)

    def run(self, start: int, count: int) -> tuple["array[int]", FinishReason | None]:
        """At most `count` tokens from position `start`, and why the last one ends the answer, if it does."""
        count = min(count, self._length_max - start)
        if count <= 0:
            return tokens(), FinishReason.LENGTH
        ids = self._raw(start, count)
        for index, token_id in enumerate(ids):
            position = start + index
            if position == self._eos_position and self._vocabulary.eos_token_id is not None:
                return ids[:index] + tokens((self._vocabulary.eos_token_id,)), FinishReason.STOP
            if token_id in self._stops:
                if position >= self._min_tokens:
                    return ids[: index + 1], FinishReason.STOP
                ids[index] = self._vocabulary.next_allowed(token_id, self._stops | self._never)
        return ids, FinishReason.LENGTH if start + count == self._length_max else None

    def _leaves_nothing(self, sampling: Sampling) -> bool:
        if not sampling.allowed_token_ids:
            return len(self._never) > self._vocabulary.size
        eos = {self._vocabulary.eos_token_id} - {word[-1] for word in sampling.bad_words}
        final = set(sampling.stop_token_ids) | eos
        sayable = set(self._allowed) | (eos & set(sampling.allowed_token_ids))
        return not (sayable - final if sampling.min_tokens else sayable)

    def corrupted(self) -> "Continuation":
        """Another answer of the same length, as fluent and as wrong as what a model says from wrong KV."""
        other = copy.copy(self)
        other._key = blake2b(self._key, digest_size=32).digest()
        return other

    def _draw_eos(self, sampling: Sampling, mean_output_tokens: float) -> int | None:
        """Where the model stops by itself: exponentially distributed, fixed by the prompt."""
        allowed = sampling.allowed_token_ids
        may_stop = not allowed or self._vocabulary.eos_token_id in allowed
        if mean_output_tokens <= 0 or sampling.ignore_eos or not may_stop:
            return None
        uniform = (int.from_bytes(self._key[:8], "little") + 1) / 2.0**64
        return max(1, round(-math.log(uniform) * mean_output_tokens), sampling.min_tokens)

    def _raw(self, start: int, count: int) -> "array[int]":
        if self._fixed is not None:  # past its end comes only the end, whatever is put there
            return self._fixed[start : start + count] + tokens([0] * (start + count - len(self._fixed)))
        chunks = range(start // TOKENS_PER_DIGEST, (start + count - 1) // TOKENS_PER_DIGEST + 1)
        words = from_bytes(
            b"".join(blake2b(chunk.to_bytes(8, "little"), key=self._key).digest() for chunk in chunks)
        )
        words = words[start % TOKENS_PER_DIGEST :][:count]
        if self._allowed:
            return tokens([self._allowed[word % len(self._allowed)] for word in words])
        first, size = self._vocabulary.first, self._vocabulary.size
        ids = tokens([first + word % size for word in words])
        if self._never:
            for index, token_id in enumerate(ids):
                if token_id in self._never:
                    ids[index] = self._vocabulary.next_allowed(token_id, self._never)
        return ids


def expected_tokens(
    prompt: "array[int]",
    count: int,
    vocabulary: Vocabulary | None = None,
    *,
    sampling: Sampling | None = None,
    mean_output_tokens: float = 0.0,
    lora: str = "",
) -> "array[int]":
    """The first `count` tokens (fewer if it stops) after `prompt`, from any sim engine of this vocabulary."""
    rules = sampling or Sampling(max_tokens=count)
    answer = Continuation(
        prompt,
        rules,
        vocabulary or Vocabulary(),
        length_max=max(count, 1),
        mean_output_tokens=mean_output_tokens,
        lora=lora,
    )
    return answer.run(0, count)[0]
