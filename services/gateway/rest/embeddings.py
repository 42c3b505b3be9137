"""From a call for vectors to its streams at the router, and back to one answer."""

from array import array
from collections.abc import Sequence
from functools import partial

from services.common.clock import Clock
from services.common.domain import Receipt, Request
from services.common.errors import InvalidField, MeshError, PromptTooLong
from services.common.limits import Limits
from services.gateway.accounts.metering.kv_seconds import kv_seconds
from services.gateway.call.call import Call, with_model
from services.gateway.call.fair_threads import FairThreads
from services.gateway.call.inline import renders_inline
from services.gateway.call.parts import Reservation, Route, Use
from services.gateway.call.pipeline import Parts
from services.gateway.call.receipt import receipts_json
from services.gateway.call.renamed import renamed
from services.gateway.call.vectors import Vectors
from services.gateway.call.writers.interface import Header
from services.gateway.http import Exchange, HttpResponse
from services.gateway.links.streams import Streams
from services.gateway.metrics import Metrics
from services.gateway.models.served import Models, ServedModel
from services.gateway.rest.body_reader import BodyReader
from services.gateway.rest.generate import call_of
from services.gateway.rest.openai.embeddings import (
    EmbeddingsCall,
    embedding_json,
    embeddings_body,
    no_vectors,
    parse_embeddings,
)
from services.gateway.tenants.internals import told

Prompts = Sequence["array[int]"]


class Embedder:
    """Answers POST /v1/embeddings: route, render, reserve, submit; settle and book what was made."""

    def __init__(
        self,
        streams: Streams,
        models: Models,
        threads: FairThreads,
        bodies: BodyReader,
        metrics: Metrics,
        limits: Limits,
        clock: Clock,
        parts: Parts,
    ) -> None:
        self._streams = streams
        self._models = models
        self._threads = threads
        self._bodies = bodies
        self._metrics = metrics
        self._limits = limits
        self._clock = clock
        self._parts = parts

    async def answer(self, exchange: Exchange) -> None:
        """Answer with all vectors or with one error; raises a `MeshError` for the latter."""
        asked = await self._bodies.parsed_soon(exchange, parse_embeddings)
        call = with_model(call_of(exchange, exchange.caller, asked.generation), self._models.only_name)
        call.notes["model"] = call.generation.model[:200]
        route = self._parts.routes.resolve(call)
        model = self._models.find(route.model)
        _require_vectors(model, asked)
        prompts = await self._rendered(call, model)
        _check_lengths(call, prompts, model.model_len)
        if exchange.is_open:
            with renamed({"prompt": "input"}):
                await self._make(exchange, call, asked, route, prompts)

    async def _rendered(self, call: Call, model: ServedModel) -> Prompts:
        if renders_inline(call.generation, model.renderer):
            return _render(call, model)
        return await self._threads.run(call.caller, call.generation.size_bytes, _render, call, model)

    async def _make(
        self, exchange: Exchange, call: Call, asked: EmbeddingsCall, route: Route, prompts: Prompts
    ) -> None:
        tokens = sum(map(len, prompts))
        cost = self._parts.meter.most_nano(route.booked_name, route.model, tokens, 0)
        borrowing = self._parts.quotas.borrow(call.caller, tokens, cost)
        if borrowing is not None:
            await borrowing
            if not exchange.is_open:
                return
        reservation = self._parts.quotas.reserve(call.caller, tokens, cost)
        call.on_reserved()
        vectors = Vectors(
            self._streams,
            len(prompts),
            lambda number: self._request(call, asked, route, prompts, number),
            partial(embedding_json, as_base64=asked.as_base64),
            partial(self._settle, call, route, prompts, reservation),
            in_flight_max=self._limits.inputs_in_flight_max,
            size_bytes_max=self._limits.answer_size_bytes_max,
        )
        exchange.on_gone = vectors.fail
        try:
            await vectors.make()
        except MeshError as error:
            raise told(error, call.caller) from error
        self._respond(exchange, call, route, vectors, tokens, reservation.headers)

    def _request(
        self, call: Call, asked: EmbeddingsCall, route: Route, prompts: Prompts, number: int
    ) -> Request:
        spent_ms = self._clock.now_ms() - call.received_ms
        return Request(
            request_id=call.request_id if len(prompts) == 1 else f"{call.request_id}-{number}",
            model=route.model,
            prompt=prompts[number],
            sampling=call.generation.sampling,
            embedding=asked.embedding,
            tenant=call.caller.tenant,
            tenant_weight=call.caller.weight,
            service_class=call.service_class,
            deadline_ms=None if call.deadline_ms is None else max(1, int(call.deadline_ms - spent_ms)),
            cache_salt=call.cache_salt,
            session_key=call.session_key,
            lora=route.lora,
            priority=call.priority,
        )

    def _settle(
        self, call: Call, route: Route, prompts: Prompts, reservation: Reservation, vectors: Vectors
    ) -> None:
        """Each text that a worker was given counts, whether or not the answer became whole."""
        tokens = sum(len(prompts[number]) for number in vectors.placed)
        cost_nano = self._book(call, route, vectors, tokens) if vectors.placed else 0
        reservation.settle(tokens, cost_nano)
        call.notes["prompt_tokens"] = tokens
        self._metrics.answers.count_prompt(route.model, tokens)

    def _book(self, call: Call, route: Route, vectors: Vectors, tokens: int) -> int:
        receipts = vectors.receipts.values()
        return self._parts.meter.record(
            Use(
                request_id=call.request_id,
                tenant=call.caller.tenant,
                model=route.booked_name,
                base_model=route.model,
                prompt_tokens=tokens,
                cached_tokens=sum(receipt.cached_tokens for receipt in receipts),
                generated_tokens=0,
                kv_seconds=sum(map(kv_seconds, receipts)),
            )
        )

    def _respond(
        self,
        exchange: Exchange,
        call: Call,
        route: Route,
        vectors: Vectors,
        tokens: int,
        quota_headers: tuple[Header, ...],
    ) -> None:
        order = range(len(vectors.data))
        receipts: list[Receipt] = [vectors.receipts[number] for number in order]
        extra: dict[str, object] = {}
        sees_internals = call.caller.sees_internals
        if call.generation.includes_receipt and sees_internals:
            extra["pdmesh"] = receipts_json(receipts, route.reason)
        body = embeddings_body([vectors.data[number] for number in order], route.served_name, tokens, extra)
        took_ms = self._clock.now_ms() - call.received_ms
        headers = (
            ("openai-processing-ms", f"{took_ms:.0f}"),
            ("x-pdmesh-prefill-worker", receipts[0].prefill_worker),
            *quota_headers,
            *route.headers,
        )
        exchange.respond(HttpResponse(200, body, headers=headers))


def _require_vectors(model: ServedModel, asked: EmbeddingsCall) -> None:
    if model.embedding_model is None:
        raise no_vectors(asked.generation.model)
    dimensions = asked.embedding.dimensions
    if not model.embedding_model.gives(dimensions):
        whole = model.embedding_model.dimensions
        raise InvalidField(
            f"dimensions: this model gives no vectors of {dimensions} numbers, only of {whole}"
            + _cuts_of(model),
            field="dimensions",
        )


def _cuts_of(model: ServedModel) -> str:
    made = model.embedding_model
    if made is None or not made.may_cut:
        return ""
    return " or " + (", ".join(map(str, made.cuts)) if made.cuts else "fewer")


def _render(call: Call, model: ServedModel) -> Prompts:
    return [prompt.render(model.renderer, model.model_len) for prompt in call.generation.prompts]


def _check_lengths(call: Call, prompts: Prompts, model_len: int) -> None:
    for prompt, ids in zip(call.generation.prompts, prompts, strict=True):
        name = prompt.field_name
        if not ids:
            raise InvalidField(f"{name}: the text is empty", field=name)
        if len(ids) > model_len:
            raise PromptTooLong(
                f"{name}: this model's maximum length is {model_len} tokens, and the text has {len(ids)}.",
                field=name,
            )
