"""Tokens of prompts and text of tokens, without generating anything."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from services.common.domain import Sampling
from services.gateway.call.call import Call
from services.gateway.call.fair_threads import FairThreads
from services.gateway.call.generation import ChatPrompt, Generation, Prompt
from services.gateway.call.parts import reserve_request
from services.gateway.call.pipeline import Pipeline
from services.gateway.call.request_id import new_request_id
from services.gateway.http import Exchange, HttpResponse
from services.gateway.models.served import Models, ServedModel
from services.gateway.rest.anthropic.body import OriginalCount, TokenCount, parse_count
from services.gateway.rest.body_reader import BodyReader
from services.gateway.rest.openai.tokenize import (
    TokenizeAsk,
    detokenized_body,
    parse_detokenize,
    parse_tokenize,
    tokenized_body,
)
from services.gateway.tenants import Caller

T = TypeVar("T")


class Tokenizing:
    """Answers /tokenize and /detokenize; works in threads, for prompts may be long."""

    def __init__(self, pipeline: Pipeline, models: Models, threads: FairThreads, bodies: BodyReader) -> None:
        self._pipeline = pipeline
        self._models = models
        self._threads = threads
        self._bodies = bodies

    async def tokenize(self, exchange: Exchange) -> None:
        """The tokens of a text or conversation."""
        size_bytes = len(exchange.request.body)
        await self._reserve(exchange)
        ask = await self._bodies.parsed_soon(exchange, parse_tokenize)
        model = self.find(exchange, ask.model, ask.prompt)
        exchange.respond(await self._in_thread(exchange, size_bytes, _tokenized, ask, model))

    async def detokenize(self, exchange: Exchange) -> None:
        """The text of tokens."""
        size_bytes = len(exchange.request.body)
        await self._reserve(exchange)
        ask = await self._bodies.parsed_soon(exchange, parse_detokenize)
        model = self.find(exchange, ask.model, ask.prompt)
        exchange.respond(await self._in_thread(exchange, size_bytes, _detokenized, ask, model))

    async def count(self, exchange: Exchange) -> None:
        """How many tokens a prompt of Anthropic's API has."""
        size_bytes = len(exchange.request.body)
        await self._reserve(exchange)
        model_name, prompt = await self._bodies.parsed_soon(exchange, parse_count)
        model = self.find(exchange, model_name, prompt)
        exchange.respond(await self._in_thread(exchange, size_bytes, _counted, prompt, model))

    async def length(self, exchange: Exchange, model_name: str, prompt: ChatPrompt, size_bytes: int) -> int:
        """How many tokens a conversation has."""
        model = self.find(exchange, model_name, prompt)
        rendered = await self._in_thread(
            exchange, size_bytes, prompt.rendered, model.renderer, model.model_len, model.model_len
        )
        return len(rendered.ids)

    def find(self, exchange: Exchange, name: str, prompt: Prompt) -> ServedModel:
        """The model that would answer a prompt; without a name the only one. Raises as `Models.find` does."""
        name = name or self._models.only_name()
        exchange.notes["model"] = name[:200]
        return model_for(self._pipeline, name, exchange.caller, prompt)

    async def _reserve(self, exchange: Exchange) -> None:
        """Count the request before anything is done for it; raises `QuotaExceeded`."""
        exchange.request.count()
        await reserve_request(self._pipeline.quotas, exchange.caller)

    async def _in_thread(
        self, exchange: Exchange, size_bytes: int, work: Callable[..., T], *arguments: object
    ) -> T:
        return await self._threads.run(exchange.caller, size_bytes, work, *arguments)


def model_for(pipeline: Pipeline, name: str, caller: Caller, prompt: Prompt) -> ServedModel:
    """The model that would answer such a prompt; raises what `Pipeline.model_of` raises."""
    generation = Generation(name, (prompt,), Sampling(max_tokens=1))
    return pipeline.model_of(Call(new_request_id(), generation, 0.0, caller))


def text_of(prompt: Prompt, model: ServedModel) -> str:
    """The text of tokens; raises `InvalidField` on ids outside the vocabulary."""
    return model.renderer.shown(prompt.render(model.renderer, model.model_len))


def _tokenized(ask: TokenizeAsk, model: ServedModel) -> HttpResponse:
    ids = ask.prompt.render(model.renderer, model.model_len)
    names = model.renderer.names(ids) if ask.names_tokens else None
    return HttpResponse(200, tokenized_body(ids, names, model.model_len))


def _detokenized(ask: TokenizeAsk, model: ServedModel) -> HttpResponse:
    return HttpResponse(200, detokenized_body(text_of(ask.prompt, model)))


def _counted(prompt: ChatPrompt, model: ServedModel) -> HttpResponse:
    """The tokens of a conversation, after its edits."""
    rendered = prompt.rendered(model.renderer, model.model_len, model.model_len)
    original = OriginalCount(rendered.original_tokens) if prompt.report is not None else None
    return HttpResponse(200, msgspec.json.encode(TokenCount(len(rendered.ids), original)))
