"""What tokens cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from services.common.errors import BadSetting

NANO = 10**9
PER_TOKENS = 10**6
EVERY_MODEL = "*"


@dataclass(frozen=True, slots=True)
class Price:
    """Of one model, in billionths of the currency for a million tokens."""

    prompt: int = 0
    cached: int = 0
    generated: int = 0
    kv_second: int = 0
    """For a million tokens held in KV caches for one second."""

    def cost_nano(self, prompt: int, cached: int, generated: int, kv_token_ms: int) -> int:
        """Cost in billionths, rounded to the nearest; cached tokens are a part of the prompt."""
        if self is FREE:
            return 0
        tokens = (prompt - cached) * self.prompt + cached * self.cached + generated * self.generated
        millions = tokens * 1_000 + kv_token_ms * self.kv_second
        return (millions + 500 * PER_TOKENS) // (1_000 * PER_TOKENS)

    def most_nano(self, prompt: int, generated: int) -> int:
        """What so many tokens cost at most, in billionths, whether the prompt is cached or not."""
        return max(self.cost_nano(prompt, cached, generated, 0) for cached in (0, prompt))


FREE = Price()


class Prices:
    """By model."""

    def __init__(self, settings: Sequence[str] = ()) -> None:
        """`model=PROMPT/CACHED/GENERATED` or `.../KV`, for a million each; `*` is every other model.

        Raises `BadSetting`.
        """
        self._by_model = dict(map(_parse, settings))

    def of(self, model: str, base_model: str = "") -> Price:
        """A model's price, or an adapter's, which is its base model's where it has none of its own; nothing
        where none is set."""
        priced = self._by_model
        if not priced:
            return FREE
        return priced.get(model) or priced.get(base_model) or priced.get(EVERY_MODEL, FREE)


def _parse(text: str) -> tuple[str, Price]:
    model, sign, parts = text.rpartition("=")
    try:
        amounts = [Decimal(part) for part in parts.split("/")]
    except InvalidOperation:
        amounts = []
    is_right = len(amounts) in (3, 4) and all(amount.is_finite() and amount >= 0 for amount in amounts)
    if not model or not sign or not is_right:
        raise BadSetting(
            f"--price: {text!r} is not MODEL=PROMPT/CACHED/GENERATED, each for a million tokens",
            field="price",
        )
    return model, Price(*(int(amount * NANO) for amount in amounts))
