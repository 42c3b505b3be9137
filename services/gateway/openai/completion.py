"""POST /v1/completions: the body."""

from typing import Any

import msgspec

from services.common.domain.tokens import tokens
from services.common.errors import InvalidField
from services.common.limits import Limits
from services.gateway.openai.fields import (
    UNSUPPORTED,
    GenerationFields,
    refuse_unsupported,
    sampling_of,
    stops_of,
    stream_of,
)
from services.gateway.openai.generation import Generation, TextPrompt, TokenPrompt
from services.gateway.openai.json_body import decode_json

MAX_TOKENS_DEFAULT = 16
"""OpenAI's own, for this endpoint."""


class CompletionBody(GenerationFields, kw_only=True):
    """The whole body. `prompt` is a text, token ids, or a list of one of these."""

    prompt: str | list[int | str | list[int]]

    suffix: Any = None


_UNSUPPORTED = UNSUPPORTED | {"suffix": (None, "")}

_decoder = msgspec.json.Decoder(CompletionBody)


def parse_completion(body: bytes, limits: Limits) -> Generation:
    """The call of a body; raises `InvalidField`."""
    fields = decode_json(body, _decoder, depth_max=limits.json_depth_max)
    refuse_unsupported(fields, _UNSUPPORTED)
    is_stream, includes_usage = stream_of(fields)
    return Generation(
        model=fields.model,
        prompts=(_prompt(fields.prompt),),
        sampling=sampling_of(fields, fields.max_tokens, "max_tokens"),
        max_tokens_default=MAX_TOKENS_DEFAULT,
        stops=stops_of(fields),
        shows_stop=bool(fields.include_stop_str_in_output),
        is_stream=is_stream,
        includes_usage=includes_usage,
        includes_receipt=fields.pdmesh is not None and fields.pdmesh.receipt,
        size_bytes=len(body),
    )


def _prompt(prompt: str | list[int | str | list[int]]) -> TextPrompt | TokenPrompt:
    if isinstance(prompt, str):
        return TextPrompt(prompt)
    first = prompt[0] if prompt else None
    if isinstance(first, int):
        return TokenPrompt(_ids(prompt))
    if first is None or len(prompt) > 1:
        raise InvalidField("prompt: exactly one prompt per request is supported", field="prompt")
    return TextPrompt(first) if isinstance(first, str) else TokenPrompt(_ids(first))


def _ids(ids: list[Any]) -> Any:
    try:
        return tokens(ids)
    except (TypeError, OverflowError):
        raise InvalidField("prompt: token ids must be integers from 0 on", field="prompt") from None
