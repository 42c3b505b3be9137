"""/v1/responses and what is below it."""

from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

import msgspec

from services.gateway.http import Exchange, HttpResponse
from services.gateway.rest.body_reader import BodyReader
from services.gateway.rest.generate import Generator
from services.gateway.rest.openai.format import FormatType
from services.gateway.rest.responses.body import parse_prompt, parse_responses
from services.gateway.rest.responses.format import ResponsesFormat
from services.gateway.rest.responses.items import Item
from services.gateway.rest.responses.kept import KeptResponses
from services.gateway.rest.tokenizing import Tokenizing

PATH = "/v1/responses/"
_PREVIOUS = "previous_response_id"


class _Start(msgspec.Struct):
    """What must be known of a body before it is parsed."""

    previous_response_id: str | None = None


class Deleted(msgspec.Struct):
    """The answer to DELETE /v1/responses/{id}."""

    id: str
    object: str = "response"
    deleted: bool = True


class InputTokens(msgspec.Struct):
    """The answer to /v1/responses/input_tokens."""

    input_tokens: int
    object: str = "response.input_tokens"


_start = msgspec.json.Decoder(_Start)


class ResponsesDoor:
    """Answers, with what was said before, and gives stored responses again."""

    def __init__(
        self, generator: Generator, bodies: BodyReader, tokenizing: Tokenizing, kept: KeptResponses
    ) -> None:
        self._generator = generator
        self._bodies = bodies
        self._tokenizing = tokenizing
        self._kept = kept

    def answer(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Have a response generated, and stored unless the caller does not want that."""
        tenant = exchange.caller.tenant
        format_type: FormatType = partial(ResponsesFormat, keep=partial(self._kept.keep, tenant))
        if _PREVIOUS.encode() in exchange.request.body:
            return self._go_on(exchange, format_type)
        return self._generator.answer(exchange, exchange.caller, parse_responses, format_type)

    async def count(self, exchange: Exchange) -> None:
        """How many tokens the prompt has."""
        before = await self._before(exchange)
        size_bytes = len(exchange.request.body)
        model, prompt = await self._bodies.parsed_soon(exchange, partial(parse_prompt, before=before))
        tokens = await self._tokenizing.length(exchange, model, prompt, size_bytes)
        _respond(exchange, msgspec.json.encode(InputTokens(tokens)))

    async def find(self, exchange: Exchange) -> None:
        """A stored response."""
        kept = await self._kept.find(exchange.caller.tenant, _id_of(exchange))
        _respond(exchange, bytes(kept.response))

    async def remove(self, exchange: Exchange) -> None:
        """Forget a stored response."""
        response_id = _id_of(exchange)
        await self._kept.remove(exchange.caller.tenant, response_id)
        _respond(exchange, msgspec.json.encode(Deleted(response_id)))

    async def _go_on(self, exchange: Exchange, format_type: FormatType) -> None:
        parse = partial(parse_responses, before=await self._before(exchange))
        if exchange.is_open:
            starting = self._generator.answer(exchange, exchange.caller, parse, format_type)
            if starting is not None:
                await starting

    async def _before(self, exchange: Exchange) -> Sequence[Item]:
        """The conversation that a body goes on from; raises `ResponseNotFound`."""
        try:
            start = await self._bodies.glimpsed(exchange, _start.decode)
        except msgspec.DecodeError:
            return ()  # parsing tells what is wrong with it
        if start.previous_response_id is None:
            return ()
        found = await self._kept.find(exchange.caller.tenant, start.previous_response_id, _PREVIOUS)
        return found.conversation


def _id_of(exchange: Exchange) -> str:
    return exchange.request.path.removeprefix(PATH)


def _respond(exchange: Exchange, body: bytes) -> None:
    exchange.respond(HttpResponse(200, body))
