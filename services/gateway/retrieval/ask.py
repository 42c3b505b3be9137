"""The extension field `retrieval`: passages to look up and put into the prompt."""

from dataclasses import dataclass

import msgspec

from services.common.errors import InvalidField

NAME_CHARS_MAX = 512
QUERY_CHARS_MAX = 16_384
PASSAGES_MAX = 64
TOKENS_MAX = 1_000_000


class RetrievalFields(msgspec.Struct):
    """`retrieval` of a body; an empty object leaves everything to the server."""

    collection: str = ""
    query: str = ""
    passages_max: int = 0
    tokens_max: int = 0
    required: bool = False


@dataclass(frozen=True, slots=True)
class RetrievalAsk:
    """What a call wants looked up; zeros and empty texts are the server's defaults."""

    collection: str = ""
    query: str = ""
    """Empty is the last user message, or the prompt."""
    passages_max: int = 0
    tokens_max: int = 0
    """Tokens of all passages together."""
    is_required: bool = False
    """Fail rather than answer without."""


def retrieval_of(fields: RetrievalFields | None) -> RetrievalAsk | None:
    """What is asked for; raises `InvalidField` for what is out of range."""
    if fields is None:
        return None
    _at_most("passages_max", fields.passages_max, PASSAGES_MAX)
    _at_most("tokens_max", fields.tokens_max, TOKENS_MAX)
    _at_most("collection", len(fields.collection), NAME_CHARS_MAX, "characters")
    _at_most("query", len(fields.query), QUERY_CHARS_MAX, "characters")
    return RetrievalAsk(
        fields.collection, fields.query, fields.passages_max, fields.tokens_max, fields.required
    )


def _at_most(name: str, value: int, most: int, unit: str = "") -> None:
    if not 0 <= value <= most:
        words = f"at most {most} {unit}" if unit else f"must be between 0 and {most}, not {value}"
        raise InvalidField(f"retrieval.{name}: {words}", field=f"retrieval.{name}")
