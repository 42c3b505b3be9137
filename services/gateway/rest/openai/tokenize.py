"""POST /tokenize and /detokenize: the bodies, in vLLM's shapes."""

from array import array
from dataclasses import dataclass
from typing import Any

import msgspec

from services.common.domain.tokens import tokens
from services.common.errors import AnswerTooLarge, InvalidField, PromptTooLong
from services.common.limits import DEFAULTS, Limits
from services.gateway.call.generation import Prompt, TextPrompt, TokenPrompt
from services.gateway.rest.openai.chat import ChatBody, chat_prompt
from services.gateway.rest.openai.json_body import decode_json
from services.gateway.rest.openai.messages import Message
from services.gateway.rest.openai.refused import Refused, refuse_unsupported
from services.gateway.rest.openai.tools import Tool, tool_use_of


class TokenizeBody(msgspec.Struct, kw_only=True):
    """The whole body: a text or a conversation."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    tools: list[Tool] | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    chat_template: Any = None
    media_io_kwargs: Any = None
    mm_processor_kwargs: Any = None


class DetokenizeBody(msgspec.Struct, kw_only=True):
    """The whole body."""

    model: str | None = None
    tokens: list[int]


class Tokenized(msgspec.Struct, kw_only=True):
    """The answer to /tokenize."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class Detokenized(msgspec.Struct, kw_only=True):
    """The answer to /detokenize."""

    prompt: str


@dataclass(frozen=True, slots=True)
class TokenizeAsk:
    """What is to be made tokens of."""

    model: str
    """Empty where the caller leaves it open."""
    prompt: Prompt
    names_tokens: bool = False
    """Also wants each token as the vocabulary writes it."""


SLICE = 16_384
"""So many tokens, or characters times 64, are written in one step; other threads run between two."""

REFUSED: Refused = {
    "chat_template": (None,),
    "media_io_kwargs": (None, {}),
    "mm_processor_kwargs": (None, {}),
}
_tokenize = msgspec.json.Decoder(TokenizeBody)
_detokenize = msgspec.json.Decoder(DetokenizeBody)


def parse_tokenize(body: bytes, limits: Limits) -> TokenizeAsk:
    """What a body asks for; raises `InvalidField`."""
    fields = decode_json(body, _tokenize, limits)
    refuse_unsupported(fields, REFUSED)
    return TokenizeAsk(fields.model or "", _prompt(fields), bool(fields.return_token_strs))


def parse_detokenize(body: bytes, limits: Limits) -> TokenizeAsk:
    """What a body asks for; raises `InvalidField`."""
    fields = decode_json(body, _detokenize, limits)
    try:
        return TokenizeAsk(fields.model or "", TokenPrompt(tokens(fields.tokens), "tokens"))
    except (TypeError, OverflowError):
        raise InvalidField("tokens: token ids must be integers from 0 on", field="tokens") from None


def tokenized_body(ids: "array[int]", names: list[str] | None, model_len: int) -> bytes:
    """The answer to /tokenize; raises `PromptTooLong` for more tokens than are listed."""
    most = DEFAULTS.json_elements_max
    if len(ids) > most:
        said = f"The prompt has {len(ids)} tokens, and {most} are listed at most."
        raise PromptTooLong(said, field="prompt")
    head = b'{"count":%d,"max_model_len":%d,"tokens":' % (len(ids), model_len)
    return head + _list(ids) + b',"token_strs":' + (b"null" if names is None else _list(names)) + b"}"


def detokenized_body(text: str) -> bytes:
    """The answer to /detokenize; raises `AnswerTooLarge`."""
    most = DEFAULTS.answer_size_bytes_max
    if len(text) > most:
        raise AnswerTooLarge(f"the text has {len(text)} characters, over {most}")
    slices = (text[start : start + SLICE * 64] for start in range(0, len(text), SLICE * 64))
    return b'{"prompt":"%b"}' % b"".join([_to_json(one)[1:-1] for one in slices])


def _list(values: "array[int] | list[str]") -> bytes:
    slices = (list(values[start : start + SLICE]) for start in range(0, len(values), SLICE))
    return b"[%b]" % b",".join([_to_json(one)[1:-1] for one in slices])


_to_json = msgspec.json.encode


def _prompt(fields: TokenizeBody) -> Prompt:
    if fields.messages is None:
        if fields.prompt is None:
            raise InvalidField("prompt: is required, or messages", field="prompt")
        return TextPrompt(fields.prompt, begins=fields.add_special_tokens is not False)
    if fields.prompt is not None:
        raise InvalidField("prompt: contradicts messages", field="prompt")
    if fields.add_special_tokens:
        raise InvalidField(
            "add_special_tokens: the chat template writes them itself", field="add_special_tokens"
        )
    chat = ChatBody(
        model=fields.model or "",
        messages=fields.messages,
        add_generation_prompt=fields.add_generation_prompt,
        continue_final_message=fields.continue_final_message,
        chat_template_kwargs=fields.chat_template_kwargs,
    )
    return chat_prompt(chat, tool_use_of(fields.tools, None, in_parallel=True))
