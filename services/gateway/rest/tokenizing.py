"""Tokens of prompts and text of tokens, without generating anything."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from services.common.domain import Sampling
from services.common.errors import InvalidField, NoWorkers
from services.common.limits import Limits
from services.gateway.call.call import Call
from services.gateway.call.edits import Rendered
from services.gateway.call.generation import ChatPrompt, Generation, Prompt
from services.gateway.call.pipeline import Pipeline
from services.gateway.call.request_id import new_request_id
from services.gateway.http import Exchange, HttpResponse
from services.gateway.models.rendering import Renderer
from services.gateway.models.served import Models, ServedModel
from services.gateway.rest.openai.tokenize import (
    Detokenized,
    TokenizeAsk,
    Tokenized,
    parse_detokenize,
    parse_tokenize,
)
from services.gateway.tenants import Caller

T = TypeVar("T")


class Tokenizing:
    """Answers /tokenize and /detokenize; works in threads, for prompts may be long."""

    def __init__(
        self, pipeline: Pipeline, models: Models, threads: ThreadPoolExecutor, limits: Limits
    ) -> None:
        self._pipeline = pipeline
        self._models = models
        self._threads = threads
        self._limits = limits

    async def tokenize(self, exchange: Exchange) -> None:
        """The tokens of a text or conversation."""
        ask = parse_tokenize(exchange.request.body, self._limits)
        model = self.find(exchange, ask.model, ask.prompt)
        _respond(exchange, await self._in_thread(_tokenized, ask, model))

    async def detokenize(self, exchange: Exchange) -> None:
        """The text of tokens."""
        ask = parse_detokenize(exchange.request.body, self._limits)
        model = self.find(exchange, ask.model, ask.prompt)
        _respond(exchange, Detokenized(prompt=await self._in_thread(text_of, ask.prompt, model.renderer)))

    async def render(self, exchange: Exchange, model_name: str, prompt: ChatPrompt) -> Rendered:
        """A conversation's tokens, after its edits."""
        model = self.find(exchange, model_name, prompt)
        return await self._in_thread(prompt.rendered, model.renderer, model.model_len)

    def find(self, exchange: Exchange, name: str, prompt: Prompt) -> ServedModel:
        """The model that would answer a prompt; without a name the only one. Raises as `Models.find` does."""
        name = name or self._only_model()
        exchange.notes["model"] = name[:200]
        return model_for(self._pipeline, name, exchange.caller, prompt)

    def _only_model(self) -> str:
        served = sorted(self._models.served())
        if not served:
            raise NoWorkers("no model is served", retry_after_ms=1000)
        if len(served) > 1:
            raise InvalidField("model: is required, as several are served", field="model")
        return served[0]

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def model_for(pipeline: Pipeline, name: str, caller: Caller, prompt: Prompt) -> ServedModel:
    """The model that would answer such a prompt; raises what `Pipeline.model_of` raises."""
    generation = Generation(name, (prompt,), Sampling(max_tokens=1))
    return pipeline.model_of(Call(new_request_id(), generation, 0.0, caller))


def text_of(prompt: Prompt, renderer: Renderer) -> str:
    """The text of tokens; raises `InvalidField` on ids outside the vocabulary."""
    return renderer.shown(prompt.render(renderer))


def _tokenized(ask: TokenizeAsk, model: ServedModel) -> Tokenized:
    ids = ask.prompt.render(model.renderer)
    names = model.renderer.names(ids) if ask.names_tokens else None
    return Tokenized(count=len(ids), max_model_len=model.model_len, tokens=ids.tolist(), token_strs=names)


def _respond(exchange: Exchange, value: object) -> None:
    exchange.respond(HttpResponse(200, msgspec.json.encode(value)))
