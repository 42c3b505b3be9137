"""How the next token is chosen."""

from collections.abc import Mapping
from dataclasses import field

from services.common.domain.record import record
from services.common.domain.structured import Structured


@record
class Sampling:
    """Sampling parameters of one request; `None` means the engine's neutral value."""

    max_tokens: int
    """Generated tokens at most, those already delivered included."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    """Token ids that end generation, besides the model's own end-of-sequence."""
    ignore_eos: bool = False
    min_tokens: int = 0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    allowed_token_ids: tuple[int, ...] = ()
    """The only tokens that may be generated; none given: all may."""
    bad_words: tuple[tuple[int, ...], ...] = ()
    """Sequences of tokens of which none is completed. Text becomes tokens at the edge."""
    structured: Structured | None = None
    logprobs: int | None = None
    """Report how likely each token was, and so many of the most likely ones beside it."""
    thinking_tokens_max: int | None = None
    """Tokens of reasoning; then its end is forced. Only for workers that know the marks around reasoning."""

    @property
    def continues_exactly(self) -> bool:
        """Whether prompt + generated tokens, run as a longer prompt, means the same as going on.

        Penalties tell prompt from output, a seeded generator and a grammar start anew with a new engine
        request, and a bad word of several tokens is looked for in the output alone. The end of reasoning that
        is forced may be several tokens.
        """
        if self.presence_penalty or self.frequency_penalty or (self.repetition_penalty or 1.0) != 1.0:
            return False
        if self.seed is not None or self.structured is not None or self.thinking_tokens_max is not None:
            return False
        return not self.bad_words or all(len(word) <= 1 for word in self.bad_words)
