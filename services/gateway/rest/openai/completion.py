"""POST /v1/completions: the body."""

from collections.abc import Sequence
from typing import Any

import msgspec

from services.common.errors import InvalidField
from services.common.limits import Limits
from services.gateway.call.generation import Generation, TextPrompt, TokenPrompt
from services.gateway.rest.openai.fields import (
    GenerationFields,
    common_of,
    sampling_of,
)
from services.gateway.rest.openai.json_body import decode_json
from services.gateway.rest.openai.prompts import Given, prompts_of
from services.gateway.rest.openai.ranges import ALTERNATIVES_MAX, within
from services.gateway.rest.openai.refused import Refused, refuse_unsupported
from services.gateway.rest.openai.unsupported import UNSUPPORTED

MAX_TOKENS_DEFAULT = 16
"""OpenAI's own, for this endpoint."""
IDS_PER_BYTE = 16
"""So many token ids are looked at in the time in which a byte of text becomes tokens, or less."""


class CompletionBody(GenerationFields, kw_only=True):
    """The whole body. `prompt` is a text, token ids, or a list of texts or of lists of token ids."""

    prompt: Given
    echo: bool | None = None
    logprobs: int | None = None
    add_special_tokens: bool | None = None

    suffix: Any = None
    prompt_embeds: Any = None


REFUSED: Refused = {**UNSUPPORTED, "suffix": (None, ""), "prompt_embeds": (None,)}

_decoder = msgspec.json.Decoder(CompletionBody)


def parse_completion(body: bytes, limits: Limits) -> Generation:
    """The call of a body; raises `InvalidField`."""
    fields = decode_json(body, _decoder, limits)
    refuse_unsupported(fields, REFUSED)
    within("logprobs", fields.logprobs, 0, ALTERNATIVES_MAX)
    if fields.echo and fields.logprobs is not None:
        raise InvalidField("logprobs: the prompt's are not known, so not with echo", field="logprobs")
    common = common_of(fields, body, limits)
    most = limits.choices_per_request_max
    prompts = prompts_of(fields.prompt, "prompt", most=most, begins=fields.add_special_tokens is not False)
    if common["n"] * len(prompts) > limits.choices_per_request_max:
        raise InvalidField(
            f"prompt: at most {limits.choices_per_request_max} choices of all prompts", field="prompt"
        )
    common["size_bytes"] = len(body) if fields.echo else _size_bytes(prompts, body)
    return Generation(
        **common,
        prompts=prompts,
        sampling=sampling_of(fields, fields.max_tokens, "max_tokens", fields.logprobs),
        max_tokens_default=MAX_TOKENS_DEFAULT,
        echoes=bool(fields.echo),
    )


def _size_bytes(prompts: Sequence[TextPrompt | TokenPrompt], body: bytes) -> int:
    """About how much text there is to render; of token ids each is only looked at."""
    ids = sum([len(prompt.ids) for prompt in prompts if isinstance(prompt, TokenPrompt)])
    return ids // IDS_PER_BYTE if ids else len(body)
