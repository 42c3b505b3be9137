"""Bounds of what one request may demand of its tokens."""

from services.common.domain import Request
from services.common.errors import InvalidField
from services.common.limits import Limits


def excess(request: Request, limits: Limits) -> InvalidField | None:
    """The first demand beyond its bound."""
    sampling, structured = request.sampling, request.sampling.structured
    if (sampling.logprobs or 0) > limits.logprobs_max:
        return _beyond("logprobs", sampling.logprobs, limits.logprobs_max, "")
    if len(sampling.bad_words) > limits.bad_words_max:
        return _beyond("bad_words", len(sampling.bad_words), limits.bad_words_max, "sequences of tokens")
    if abs(request.priority) > limits.priority_max:
        return _beyond("priority", request.priority, limits.priority_max, "either way")
    if structured is not None and len(structured.value) > limits.structured_chars_max:
        return _beyond("structured_outputs", len(structured.value), limits.structured_chars_max, "characters")
    return None


def _beyond(field: str, asked: object, most: int, unit: str) -> InvalidField:
    return InvalidField(f"{field}: {asked} is more than {most} {unit}".rstrip(), field=field)
