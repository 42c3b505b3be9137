"""Ranges of the shared fields."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from services.common.errors import InvalidField

if TYPE_CHECKING:
    from services.gateway.rest.openai.fields import GenerationFields

STOPS_MAX = 16
STOP_CHARS_MAX = 1_024
STOP_TOKENS_MAX = 64
LOGIT_BIAS_MAX = 1_024
BAD_WORDS_MAX = 256
BAD_WORD_CHARS_MAX = 256
ALLOWED_TOKENS_MAX = 65_536
ALTERNATIVES_MAX = 20
"""Most likely tokens reported beside each token."""
TOKENS_MAX = 2**31 - 1
PRIORITY_MAX = 2**31 - 1
SESSION_KEY_CHARS_MAX = 256
CACHE_SALT_CHARS_MAX = 1_024
"""As in vLLM."""
DEADLINE_MS_MAX = 24 * 60 * 60 * 1000


def check_ranges(body: "GenerationFields") -> None:
    """Raise `InvalidField` for a number out of range or a list that is too long."""
    values = _ranged(body)
    if values.count(None) < len(values):
        for name, value in zip(_RANGES, values, strict=True):
            within(name, value, *_RANGES[name])
    if body.top_p == 0.0:
        raise InvalidField("top_p: must be above 0", field="top_p")
    if body.stop_token_ids:
        _check_tokens("stop_token_ids", body.stop_token_ids, STOP_TOKENS_MAX)
    if body.allowed_token_ids is not None:
        _check_tokens("allowed_token_ids", body.allowed_token_ids, ALLOWED_TOKENS_MAX)
        if not body.allowed_token_ids:
            raise InvalidField("allowed_token_ids: must not be empty", field="allowed_token_ids")
    if body.logit_bias:
        _check_logit_bias(body.logit_bias)
    if body.bad_words:
        _check_bad_words(body.bad_words)


_RANGES = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "top_k": (-1, TOKENS_MAX),
    "min_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "repetition_penalty": (1e-3, 1e3),
    "seed": (-(2**63), 2**63 - 1),
    "thinking_token_budget": (0, TOKENS_MAX),
    "min_tokens": (0, TOKENS_MAX),
    "priority": (-PRIORITY_MAX, PRIORITY_MAX),
}
_ranged = attrgetter(*_RANGES)


def within(name: str, value: float | None, least: float, most: float) -> None:
    """Raise `InvalidField` for a value out of its range."""
    if value is not None and not least <= value <= most:
        raise InvalidField(f"{name}: must be between {least} and {most}, not {value}", field=name)


def _check_tokens(name: str, token_ids: Sequence[int], count_max: int) -> None:
    if len(token_ids) > count_max:
        raise InvalidField(f"{name}: at most {count_max}", field=name)
    for token_id in token_ids:
        within(name, token_id, 0, TOKENS_MAX)


def _check_logit_bias(logit_bias: Mapping[int, float]) -> None:
    if len(logit_bias) > LOGIT_BIAS_MAX:
        raise InvalidField(f"logit_bias: at most {LOGIT_BIAS_MAX} tokens", field="logit_bias")
    for token_id, bias in logit_bias.items():
        within("logit_bias", token_id, 0, TOKENS_MAX)
        within("logit_bias", bias, -100.0, 100.0)


def _check_bad_words(words: Sequence[str]) -> None:
    if len(words) > BAD_WORDS_MAX:
        raise InvalidField(f"bad_words: at most {BAD_WORDS_MAX}", field="bad_words")
    for index, word in enumerate(words):
        if not word.strip() or len(word) > BAD_WORD_CHARS_MAX:
            name = f"bad_words[{index}]"
            raise InvalidField(
                f"{name}: must have 1 to {BAD_WORD_CHARS_MAX} characters, not only blanks", field=name
            )
