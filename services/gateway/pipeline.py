"""Everything between a parsed call and its streams at the router; REST and gRPC share it."""

import asyncio
import dataclasses
import time
from array import array
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from services.common.clock import Clock
from services.common.domain import Request, Sampling
from services.common.errors import MeshError
from services.gateway.answer import Answer
from services.gateway.call import Call
from services.gateway.choice import Choice
from services.gateway.metrics import Metrics
from services.gateway.models import Models, ServedModel
from services.gateway.openai.generation import check_vocabulary, fit_max_tokens
from services.gateway.parts import (
    ByName,
    Meter,
    ModelRoutes,
    Quotas,
    Retriever,
    Route,
    Unlimited,
    Unmetered,
    WithoutRetrieval,
)
from services.gateway.router_session import RouterSession
from services.gateway.transcripts import PlainTranscript, Transcript
from services.gateway.writers import Opening, Writer

INLINE_BODY_BYTES_MAX = 4_096
"""Prompts of longer calls are rendered in a thread. So much text takes about 1.5 ms, as many empty messages
as fit in it about 3, and handing over about 0.2."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a gateway has besides models; the defaults are those of one that has nothing."""

    routes: ModelRoutes = field(default_factory=ByName)
    retriever: Retriever = field(default_factory=WithoutRetrieval)
    quotas: Quotas = field(default_factory=Unlimited)
    meter: Meter = field(default_factory=Unmetered)


class Pipeline:
    """Route, retrieve, render, reserve, submit; the answer comes through the writer."""

    def __init__(
        self,
        session: RouterSession,
        models: Models,
        threads: ThreadPoolExecutor,
        metrics: Metrics,
        clock: Clock,
        parts: Parts,
        *,
        chat_max_tokens_default: int = 0,
    ) -> None:
        self._session = session
        self._models = models
        self._threads = threads
        self._metrics = metrics
        self._clock = clock
        self._parts = parts
        self._chat_max_tokens_default = chat_max_tokens_default

    def start(self, call: Call, writer: Writer) -> Coroutine[Any, Any, None] | None:
        """Have a call answered: at once, or by the coroutine returned where something must be waited for.

        Raises a `MeshError` for a call that is refused, here or from the coroutine; the writer then knows of
        nothing.
        """
        call.notes["model"] = call.generation.model[:200]
        route = self._parts.routes.resolve(call)
        model = self._models.find(route.model)
        check_vocabulary(call.generation, model.renderer.vocabulary_size)
        retrieval = self._parts.retriever.augment(call)
        if retrieval is not None:
            return self._start_later(retrieval, route, model, writer)
        if call.generation.size_bytes > INLINE_BODY_BYTES_MAX:
            return self._render_later(call, route, model, writer)
        self._submit(call, route, model, writer, _render(call, model))
        return None

    async def _start_later(
        self, retrieval: Coroutine[Any, Any, Call], route: Route, model: ServedModel, writer: Writer
    ) -> None:
        await self._render_later(await retrieval, route, model, writer)

    async def _render_later(self, call: Call, route: Route, model: ServedModel, writer: Writer) -> None:
        loop = asyncio.get_running_loop()
        prompts = await loop.run_in_executor(self._threads, _render, call, model)
        if writer.is_open:
            self._submit(call, route, model, writer, prompts)

    def _submit(
        self,
        call: Call,
        route: Route,
        model: ServedModel,
        writer: Writer,
        prompts: "Sequence[array[int]]",
    ) -> None:
        samplings = [self._sampling(call, model, prompt) for prompt in prompts]
        tokens = sum(map(len, prompts)) + call.generation.n * sum(s.max_tokens for s in samplings)
        reservation = self._parts.quotas.reserve(call.caller, tokens)
        answer = Answer(
            call, route, prompts, writer, reservation, self._parts.meter, self._metrics, self._clock
        )
        opening = Opening(
            model=route.served_name,
            created_s=int(time.time()),
            prompts=prompts,
            headers=reservation.headers,
            generated_tokens=answer.generated_tokens,
            cancel=answer.on_gone,
        )
        try:
            submission = Submission(self._session, call, route, model, answer)
            submission.submit(prompts, samplings)
        except MeshError:
            answer.take_back()
            raise
        writer.open(opening)

    def _sampling(self, call: Call, model: ServedModel, prompt: "array[int]") -> Sampling:
        """The call's sampling with its `max_tokens` filled in and capped."""
        generation = call.generation
        default = generation.max_tokens_default or self._chat_max_tokens_default
        fitting = dataclasses.replace(generation, max_tokens_default=default)
        max_tokens = fit_max_tokens(fitting, len(prompt), model.model_len)
        if call.caller.max_tokens is not None:
            max_tokens = min(max_tokens, call.caller.max_tokens)
        return dataclasses.replace(generation.sampling, max_tokens=max_tokens)


class Submission:
    """One call's streams at the router.

    Of several choices of one prompt the first goes alone; the others follow once it has a token, and find
    the prompt in the prefix cache: one prefill serves them all.
    """

    def __init__(
        self, session: RouterSession, call: Call, route: Route, model: ServedModel, answer: Answer
    ) -> None:
        self._session = session
        self._call = call
        self._route = route
        self._model = model
        self._answer = answer

    def submit(self, prompts: "Sequence[array[int]]", samplings: Sequence[Sampling]) -> None:
        """Submit the first choice of each prompt, and see to the others."""
        choices = [
            [self._answer.add_choice(self._transcript(prompt)) for _ in range(self._call.generation.n)]
            for prompt in prompts
        ]
        for prompt, sampling, (first, *others) in zip(prompts, samplings, choices, strict=True):
            if others:
                self._answer.after_first_token(first, partial(self._follow, others, prompt, sampling))
            self._submit(first, prompt, sampling)

    def _follow(self, others: Sequence[Choice], prompt: "array[int]", sampling: Sampling) -> None:
        try:
            for nth, choice in enumerate(others, 1):
                self._submit(choice, prompt, _nth(sampling, nth))
        except MeshError as error:
            self._answer.fail(error)

    def _submit(self, choice: Choice, prompt: "array[int]", sampling: Sampling) -> None:
        request = self._request(choice.number, prompt, sampling)
        live = self._session.submit(request, choice, _final_ids(sampling, self._model))
        choice.cancel = partial(self._session.cancel, live)

    def _request(self, number: int, prompt: "array[int]", sampling: Sampling) -> Request:
        call, generation = self._call, self._call.generation
        is_alone = generation.n * len(generation.prompts) == 1
        return Request(
            request_id=call.request_id if is_alone else f"{call.request_id}-{number}",
            model=self._route.model,
            prompt=prompt,
            sampling=sampling,
            tenant=call.caller.tenant,
            service_class=call.service_class,
            deadline_ms=call.deadline_ms,
            cache_salt=call.caller.cache_salt,
            strict_disaggregation=generation.strict_disaggregation,
            # Choices of one prompt belong together, and so to one worker.
            session_key=call.session_key or (call.request_id if generation.n > 1 else ""),
            lora=self._route.lora,
            priority=call.priority,
        )

    def _transcript(self, prompt: "array[int]") -> Transcript:
        generation, renderer = self._call.generation, self._model.renderer
        return PlainTranscript(
            renderer.open_detokenizer(),
            generation.stops,
            shows_stop=generation.shows_stop,
            min_tokens=generation.sampling.min_tokens,
        )


def _render(call: Call, model: ServedModel) -> "list[array[int]]":
    return [prompt.render(model.renderer) for prompt in call.generation.prompts]


def _nth(sampling: Sampling, nth: int) -> Sampling:
    """Sampling of a prompt's n-th choice: another seed, or all choices would be the same."""
    return sampling if sampling.seed is None else dataclasses.replace(sampling, seed=sampling.seed + nth)


def _final_ids(sampling: Sampling, model: ServedModel) -> frozenset[int]:
    """Tokens after which an engine says nothing more."""
    own = frozenset() if sampling.ignore_eos else model.renderer.eos_ids
    return own | frozenset(sampling.stop_token_ids)
