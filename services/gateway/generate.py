"""From an HTTP request to a stream at the router."""

import asyncio
import dataclasses
import time
from array import array
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from services.common.clock import Clock
from services.common.domain import Request
from services.common.errors import InvalidField
from services.common.limits import Limits
from services.gateway.answer import Answer, Asked
from services.gateway.http import Exchange
from services.gateway.metrics import Metrics
from services.gateway.models import Models, ServedModel
from services.gateway.openai.format import AnswerFormat
from services.gateway.openai.generation import Generation, check_vocabulary, fit_max_tokens
from services.gateway.router_session import RouterSession
from services.gateway.writers import StreamedWriter, WholeWriter

INLINE_BODY_BYTES_MAX = 4_096
"""Prompts of longer bodies are rendered in a thread. So much text takes about 1.5 ms, as many empty messages
as fit in it about 3, and handing over about 0.2."""

Parse = Callable[[bytes, Limits], Generation]


class FormatType(Protocol):
    """Makes the format of one answer."""

    def __call__(self, request_id: str, created_s: int, model: str, *, has_usage: bool) -> AnswerFormat:
        """The format of one answer."""


class Generator:
    """Answers the endpoints that generate."""

    def __init__(
        self,
        session: RouterSession,
        models: Models,
        threads: ThreadPoolExecutor,
        metrics: Metrics,
        limits: Limits,
        clock: Clock,
        *,
        chat_max_tokens_default: int = 0,
    ) -> None:
        self._session = session
        self._models = models
        self._threads = threads
        self._metrics = metrics
        self._limits = limits
        self._clock = clock
        self._chat_max_tokens_default = chat_max_tokens_default

    def answer(
        self, exchange: Exchange, parse: Parse, format_type: FormatType
    ) -> Coroutine[Any, Any, None] | None:
        """Check, render and submit; a long prompt is rendered in a thread, by the coroutine returned."""
        generation = self._with_headers(exchange, parse(exchange.request.body, self._limits))
        exchange.notes["model"] = generation.model[:200]
        model = self._models.find(generation.model)
        check_vocabulary(generation, model.renderer.vocabulary_size)
        submit = partial(self._submit, exchange, generation, model, format_type)
        if len(exchange.request.body) > INLINE_BODY_BYTES_MAX:
            return self._submit_later(exchange, generation, model, submit)
        submit(generation.prompt.render(model.renderer))
        return None

    async def _submit_later(
        self,
        exchange: Exchange,
        generation: Generation,
        model: ServedModel,
        submit: Callable[["array[int]"], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        prompt = await loop.run_in_executor(self._threads, generation.prompt.render, model.renderer)
        if exchange.is_open:
            submit(prompt)

    def _submit(
        self,
        exchange: Exchange,
        generation: Generation,
        model: ServedModel,
        format_type: FormatType,
        prompt: "array[int]",
    ) -> None:
        max_tokens = fit_max_tokens(generation, len(prompt), model.model_len)
        request = Request(
            request_id=str(exchange.notes["request_id"]),
            model=model.name,
            prompt=prompt,
            sampling=dataclasses.replace(generation.sampling, max_tokens=max_tokens),
            strict_disaggregation=generation.strict_disaggregation,
        )
        answer = self._open_answer(exchange, generation, model, format_type, request)
        live = self._session.submit(request, answer, _final_ids(request, model))
        answer.cancel = partial(self._session.cancel, live)
        exchange.on_gone = answer.on_gone

    def _open_answer(
        self,
        exchange: Exchange,
        generation: Generation,
        model: ServedModel,
        format_type: FormatType,
        request: Request,
    ) -> Answer:
        has_usage = generation.includes_usage
        made = format_type(request.request_id, int(time.time()), model.name, has_usage=has_usage)
        writer: StreamedWriter | WholeWriter
        if generation.is_stream:
            writer = StreamedWriter(
                exchange, made, self._clock, self._limits, self._metrics, has_usage=has_usage
            )
        else:
            writer = WholeWriter(exchange, made, self._clock)
        asked = Asked(generation, len(request.prompt), exchange.request.received_ms)
        detokenizer = model.renderer.open_detokenizer()
        return Answer(asked, detokenizer, writer, self._metrics, self._clock)

    def _with_headers(self, exchange: Exchange, generation: Generation) -> Generation:
        """What headers ask for, besides the body."""
        headers = exchange.request.headers
        path = headers.get("x-pdmesh-path", "any")
        if path not in ("any", "disaggregated"):
            raise InvalidField("x-pdmesh-path: must be any or disaggregated", field="x-pdmesh-path")
        default = generation.max_tokens_default or self._chat_max_tokens_default
        return dataclasses.replace(
            generation,
            includes_receipt=generation.includes_receipt or headers.get("x-pdmesh-receipt") == "1",
            strict_disaggregation=path == "disaggregated",
            max_tokens_default=default,
        )


def _final_ids(request: Request, model: ServedModel) -> frozenset[int]:
    """Tokens after which an engine says nothing more."""
    own = frozenset() if request.sampling.ignore_eos else model.renderer.eos_ids
    return own | frozenset(request.sampling.stop_token_ids)
