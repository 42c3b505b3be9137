"""Everything between a parsed call and its streams at the router; REST and gRPC share it."""

import dataclasses
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any

from services.common.clock import Clock
from services.common.domain import Sampling
from services.common.errors import MeshError, NoWorkers, RouterUnavailable
from services.gateway.accounts.quota.fit import fit_budget, fit_quota
from services.gateway.call.answer import Answer
from services.gateway.call.call import Call, with_model
from services.gateway.call.fair_threads import FairThreads
from services.gateway.call.generation import (
    check_delivered,
    check_texts,
    check_thinking,
    check_vocabulary,
    fit_max_tokens,
    no_text,
)
from services.gateway.call.inline import renders_inline
from services.gateway.call.max_tokens import cap_headers, capped
from services.gateway.call.parts import (
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
from services.gateway.call.prepared import Prepared, prepare
from services.gateway.call.submission import Submission
from services.gateway.call.writers import Opening, Writer
from services.gateway.links.streams import Streams
from services.gateway.metrics import Metrics
from services.gateway.models.served import Models, ServedModel
from services.gateway.tenants import PLAIN, TAKEN
from services.gateway.tenants.caller import NO_BUDGET

_max_tokens = attrgetter("max_tokens")


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
        streams: Streams,
        models: Models,
        threads: FairThreads,
        metrics: Metrics,
        clock: Clock,
        parts: Parts,
        *,
        chat_max_tokens_default: int = 0,
        control_tokens: str = TAKEN,
    ) -> None:
        self._streams = streams
        self._models = models
        self._threads = threads
        self._metrics = metrics
        self._clock = clock
        self._parts = parts
        self._chat_max_tokens_default = chat_max_tokens_default
        self._control_tokens = control_tokens

    def start(self, call: Call, writer: Writer) -> Coroutine[Any, Any, None] | None:
        """Have a call answered: at once, or by the coroutine returned where something must be waited for.

        Raises a `MeshError` for a call that is refused, here or from the coroutine; the writer then knows of
        nothing.
        """
        call = with_model(call, self._models.only_name)
        call.notes["model"] = call.generation.model[:200]
        route = self._parts.routes.resolve(call)
        try:
            model = self._find(call, route)
        except (NoWorkers, RouterUnavailable) as refusal:
            if not self._models.may_come_back(route.model):
                raise
            return self._start_held(call, route, writer, refusal)
        return self._begin(call, route, model, writer)

    async def _start_held(self, call: Call, route: Route, writer: Writer, refusal: MeshError) -> None:
        """Its router or its workers start again, and requests in flight wait for them too."""
        left_ms = None
        if call.deadline_ms is not None:
            left_ms = max(0.0, call.deadline_ms - (self._clock.now_ms() - call.received_ms))
        if not await self._models.comes_back(route.model, left_ms):
            raise refusal
        if writer.is_open:
            beginning = self._begin(call, route, self._find(call, route), writer)
            if beginning is not None:
                await beginning

    def _begin(
        self, call: Call, route: Route, model: ServedModel, writer: Writer
    ) -> Coroutine[Any, Any, None] | None:
        if model.embedding_model is not None:
            raise no_text(call.generation.model)
        check_thinking(call.generation, is_limited=model.limits_thinking)
        check_delivered(call.generation, model.model_len)
        check_vocabulary(call.generation, model.renderer.vocabulary_size)
        check_texts(call.generation, model.renderer, model.model_len)
        retrieval = self._parts.retriever.augment(call, model.renderer)
        if retrieval is not None:
            return self._start_later(retrieval, route, model, writer)
        if not renders_inline(call.generation, model.renderer):
            return self._render_later(call, route, model, writer)
        return self._admit(call, route, model, writer, prepare(call, model))

    @property
    def quotas(self) -> Quotas:
        """Limits what callers use."""
        return self._parts.quotas

    def model_of(self, call: Call) -> ServedModel:
        """The model that would answer a call; raises `ModelNotFound`, `NoWorkers` or `RouterUnavailable`."""
        return self._find(call, self._parts.routes.resolve(call))

    def _find(self, call: Call, route: Route) -> ServedModel:
        """The model with what renders this caller's prompts."""
        model = self._models.find(route.model)
        if (call.caller.control_tokens or self._control_tokens) != PLAIN:
            return model
        return dataclasses.replace(model, renderer=model.renderer.plain)

    async def _start_later(
        self, retrieval: Coroutine[Any, Any, Call], route: Route, model: ServedModel, writer: Writer
    ) -> None:
        await self._render_later(await retrieval, route, model, writer)

    async def _render_later(self, call: Call, route: Route, model: ServedModel, writer: Writer) -> None:
        size_bytes = call.generation.size_bytes
        prepared = await self._threads.run(call.caller, size_bytes, prepare, call, model)
        if writer.is_open and (admitting := self._admit(call, route, model, writer, prepared)) is not None:
            await admitting

    def _admit(
        self, call: Call, route: Route, model: ServedModel, writer: Writer, prepared: Prepared
    ) -> Coroutine[Any, Any, None] | None:
        """Submit it now, or by the coroutine returned, which first has the quota asked for."""
        if call.caller.quota.budget is not NO_BUDGET:
            learning = self._parts.quotas.learn(call.caller)
            if learning is not None:
                fit = partial(self._fit, call, route, model, writer, prepared)
                return self._fit_later(learning, fit, writer)
        return self._fit(call, route, model, writer, prepared)

    async def _fit_later(
        self,
        learning: Coroutine[Any, Any, None],
        fit: Callable[[], Coroutine[Any, Any, None] | None],
        writer: Writer,
    ) -> None:
        await learning
        if writer.is_open and (submitting := fit()) is not None:
            await submitting

    def _fit(
        self, call: Call, route: Route, model: ServedModel, writer: Writer, prepared: Prepared
    ) -> Coroutine[Any, Any, None] | None:
        """Find out how long its answers may be, and submit it likewise."""
        prompts = prepared.prompts
        lengths = list(map(len, prompts))
        samplings = [
            _limited(prepared.sampling, self._max_tokens(call, route, model, nth, lengths))
            for nth in range(len(prompts))
        ]
        generated = call.generation.n * sum(map(_max_tokens, samplings))
        tokens = sum(lengths) + generated
        cost = self._most_nano(call, route, sum(lengths), generated)
        borrowing = self._parts.quotas.borrow(call.caller, tokens, cost)
        if borrowing is None:
            self._submit(call, route, model, writer, prepared, samplings, tokens, cost)
            return None
        submit = partial(self._submit, call, route, model, writer, prepared, samplings, tokens, cost)
        return self._submit_later(borrowing, submit, writer)

    def _most_nano(self, call: Call, route: Route, prompt_tokens: int, generated_tokens: int) -> int:
        """The most that the call may cost, for callers with a budget."""
        if call.caller.quota.budget is NO_BUDGET:
            return 0
        return self._parts.meter.most_nano(route.booked_name, route.model, prompt_tokens, generated_tokens)

    async def _submit_later(
        self, borrowing: Coroutine[Any, Any, None], submit: Callable[[], None], writer: Writer
    ) -> None:
        await borrowing
        if writer.is_open:
            submit()

    def _submit(
        self,
        call: Call,
        route: Route,
        model: ServedModel,
        writer: Writer,
        prepared: Prepared,
        samplings: Sequence[Sampling],
        tokens: int,
        cost: int,
    ) -> None:
        prompts = prepared.prompts
        reservation = self._parts.quotas.reserve(call.caller, tokens, cost)
        call.on_reserved()
        answer = Answer(
            call, route, prepared, writer, reservation, self._parts.meter, self._metrics, self._clock
        )
        opening = Opening(
            model=route.served_name,
            created_s=int(time.time()),
            prompts=prompts,
            headers=(
                *reservation.headers,
                *route.headers,
                *((("x-pdmesh-retrieval", call.retrieval.status),) if call.retrieval else ()),
                *cap_headers(call.generation, call.caller, max(map(_max_tokens, samplings))),
            ),
            generated_tokens=answer.generated_tokens,
            cancel=answer.on_gone,
        )
        try:
            submission = Submission(self._streams, call, route, model, prepared, answer, self._clock)
            submission.submit(samplings)
        except MeshError:
            answer.take_back()
            raise
        writer.open(opening)

    def _max_tokens(
        self, call: Call, route: Route, model: ServedModel, nth: int, lengths: Sequence[int]
    ) -> int:
        """How many tokens each choice of the n-th prompt may have; `lengths` are those of all prompts."""
        generation = fitting = call.generation
        is_open = not (generation.sampling.max_tokens or generation.max_tokens_default)
        if is_open and self._chat_max_tokens_default:
            fitting = dataclasses.replace(generation, max_tokens_default=self._chat_max_tokens_default)
        fitted = fit_max_tokens(capped(fitting, call.caller), lengths[nth], model.model_len)
        fitted = fit_quota(fitted, generation, call.caller, lengths)
        if call.caller.quota.budget is NO_BUDGET:
            return fitted
        affordable = self._parts.quotas.affordable_nano(call.caller)
        return fit_budget(fitted, generation, lengths, route, self._parts.meter, affordable)


def _limited(sampling: Sampling, max_tokens: int) -> Sampling:
    """The sampling with so many tokens at most; mostly it says so already."""
    return (
        sampling
        if sampling.max_tokens == max_tokens
        else dataclasses.replace(sampling, max_tokens=max_tokens)
    )
