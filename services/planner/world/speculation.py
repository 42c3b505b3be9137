"""Speculative decoding: tokens are drafted, and a step keeps those that the model agrees with."""

from dataclasses import dataclass

from services.common.errors import BadSetting

DRAFTS_MAX = 16


@dataclass(frozen=True, slots=True)
class Speculation:
    """How many tokens are drafted, and the chance with which each is accepted after the one before it."""

    drafts: int
    acceptance: float

    @classmethod
    def parse(cls, text: str, flag: str = "--speculation") -> "Speculation":
        """From `3:0.7`; raises `BadSetting`."""
        drafts, _, acceptance = text.partition(":")
        try:
            found = cls(int(drafts), float(acceptance))
        except ValueError:
            raise BadSetting(f"{flag}: {text!r}: write DRAFTS:ACCEPTANCE, as in 3:0.7") from None
        if not 1 <= found.drafts <= DRAFTS_MAX or not 0 <= found.acceptance < 1:
            raise BadSetting(f"{flag}: {text!r}: 1 to {DRAFTS_MAX} drafts, and an acceptance below 1")
        return found

    @property
    def tokens_per_step(self) -> float:
        """Mean: one, and the drafts before the first that is not accepted: (1 - a^(k+1)) / (1 - a)."""
        return float((1 - self.acceptance ** (self.drafts + 1)) / (1 - self.acceptance))
