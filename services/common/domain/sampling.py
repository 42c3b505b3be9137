"""How the next token is chosen."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
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

    @property
    def continues_exactly(self) -> bool:
        """Whether prompt + generated tokens, run as a longer prompt, means the same as going on.

        Penalties tell prompt from output, and a seeded generator starts anew with a new engine request;
        such a request must not change engines once it has a token.
        """
        penalised = self.presence_penalty or self.frequency_penalty or (self.repetition_penalty or 1.0) != 1.0
        return not penalised and self.seed is None
