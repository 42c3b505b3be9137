"""`InferenceService`: converts, and lets the pipeline answer."""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

import grpc.aio

from pdmesh.inference.v1 import inference_pb2, inference_pb2_grpc
from services.common.clock import Clock
from services.common.errors import Cancelled, Internal, MeshError, SlowReader
from services.common.limits import Limits
from services.common.rpc import abort_with
from services.gateway.call.call import Call
from services.gateway.call.fair_threads import FairThreads
from services.gateway.call.generation import Generation, Prompt
from services.gateway.call.parts import Authenticator, reserve_request
from services.gateway.call.pipeline import Pipeline
from services.gateway.call.request_log import note_trace
from services.gateway.grpc import bodies
from services.gateway.grpc.bodies import Request
from services.gateway.grpc.deltas import Response
from services.gateway.grpc.keyed_exchange import KeyedExchange
from services.gateway.grpc.log_line import LogLine
from services.gateway.grpc.metadata import call_of, headers_of, name_of
from services.gateway.grpc.recorded_writer import RecordedWriter
from services.gateway.grpc.sending import send
from services.gateway.grpc.writer import RpcWriter
from services.gateway.http import Exchange
from services.gateway.idempotency import IDEMPOTENCY_KEY, Idempotency
from services.gateway.metrics import Metrics
from services.gateway.models.served import Models, ServedModel
from services.gateway.rest.tokenizing import model_for, text_of
from services.gateway.tenants import ANONYMOUS, Caller

SERVICE = "pdmesh.inference.v1.InferenceService"

INLINE_BYTES_MAX = 4_096
"""Longer requests are parsed in a thread: they pass through a body, which costs more than a body alone."""

Answer = TypeVar("Answer")
Parsed = TypeVar("Parsed")
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Parse = Callable[[Any, Limits], Generation]

_log = logging.getLogger(__name__)


class InferenceServicer(inference_pb2_grpc.InferenceServiceServicer):
    """All calls of the public gRPC API."""

    def __init__(
        self,
        pipeline: Pipeline,
        models: Models,
        threads: FairThreads,
        authenticator: Authenticator,
        idempotency: Idempotency,
        metrics: Metrics,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._pipeline = pipeline
        self._models = models
        self._threads = threads
        self._authenticator = authenticator
        self._idempotency = idempotency
        self._metrics = metrics
        self._limits = limits
        self._clock = clock

    async def Chat(self, request: inference_pb2.ChatRequest, context: Context) -> None:  # noqa: N802
        """A conversation's next message."""
        await self._generate("Chat", request, context, bodies.chat, inference_pb2.ChatResponse)

    async def Complete(self, request: inference_pb2.CompleteRequest, context: Context) -> None:  # noqa: N802
        """A text goes on."""
        await self._generate("Complete", request, context, bodies.complete, inference_pb2.CompleteResponse)

    async def Generate(self, request: inference_pb2.GenerateRequest, context: Context) -> None:  # noqa: N802
        """Token ids in, token ids out."""
        await self._generate("Generate", request, context, bodies.generate, inference_pb2.GenerateResponse)

    async def ListModels(  # noqa: N802
        self, _request: inference_pb2.ListModelsRequest, context: Context
    ) -> inference_pb2.ListModelsResponse:
        """Models that the caller can ask for at the moment."""

        async def answer(caller: Caller, _: LogLine) -> inference_pb2.ListModelsResponse:
            listed = self._models.listing()
            names = filter(caller.may_use, sorted(listed))
            models = [inference_pb2.Model(name=name, max_model_len=listed[name].model_len) for name in names]
            return inference_pb2.ListModelsResponse(models=models)

        return await self._translated("ListModels", context, answer)

    async def Tokenize(  # noqa: N802
        self, request: inference_pb2.TokenizeRequest, context: Context
    ) -> inference_pb2.TokenizeResponse:
        """The tokens of a text or conversation."""

        async def answer(caller: Caller, line: LogLine) -> inference_pb2.TokenizeResponse:
            await self._reserve(caller, line)
            prompt = await self._parsed(bodies.prompt_of, request, caller)
            model = self._model(request.model, caller, prompt, line)
            size_bytes = request.ByteSize()
            return await self._threads.run(caller, size_bytes, bodies.tokenized, prompt, model)

        return await self._translated("Tokenize", context, answer)

    async def Detokenize(  # noqa: N802
        self, request: inference_pb2.DetokenizeRequest, context: Context
    ) -> inference_pb2.DetokenizeResponse:
        """The text of tokens."""

        async def answer(caller: Caller, line: LogLine) -> inference_pb2.DetokenizeResponse:
            await self._reserve(caller, line)
            prompt = await self._parsed(bodies.tokens_of, request, caller)
            model = self._model(request.model, caller, prompt, line)
            text = await self._threads.run(caller, request.ByteSize(), text_of, prompt, model)
            return inference_pb2.DetokenizeResponse(text=text)

        return await self._translated("Detokenize", context, answer)

    async def _generate(
        self, name: str, request: Request, context: Context, parse: Parse, message: Callable[[], Response]
    ) -> None:
        async def answer(caller: Caller, line: LogLine) -> None:
            line.notes["request_id"] = request_id = name_of(request, self._limits)
            call = call_of(request, await self._parsed(parse, request, caller), caller, context, line)
            key = request.options.idempotency_key or headers_of(context).get(IDEMPOTENCY_KEY, "")
            try:
                # An answer that goes on after tokens that its caller has is no whole one to keep.
                if key and not request.delivered:
                    exchange = KeyedExchange(line.method, request, key, message)
                    await self._answer_once(exchange, call, message, context)
                else:
                    writer = RpcWriter(message, request_id, self._limits.client_buffer_bytes_max)
                    await self._answer(writer, call, context)
            except SlowReader:
                self._metrics.slow_readers.inc()
                raise

        await self._translated(name, context, answer)

    async def _answer(self, writer: RpcWriter, call: Call, context: Context) -> None:
        try:
            if (starting := self._pipeline.start(call, writer)) is not None:
                await starting
            await send(context, writer, call.request_id, self._limits.client_stall_ms_max)
        finally:
            writer.close()

    async def _answer_once(
        self, exchange: KeyedExchange, call: Call, message: Callable[[], Response], context: Context
    ) -> None:
        """Answer a call with a key: from what is kept, or by the pipeline and keep it."""

        def produce(recording: Exchange) -> Coroutine[Any, Any, None] | None:
            kept = dataclasses.replace(call, notes=recording.notes)
            return self._pipeline.start(kept, RecordedWriter(recording, message, call.request_id))

        exchange.notes = call.notes
        try:
            async with asyncio.TaskGroup() as tasks:
                later = self._idempotency.answer(exchange, call.caller.tenant, produce)
                if later is not None:
                    tasks.create_task(later)
                await send(context, exchange, call.request_id, self._limits.client_stall_ms_max)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            exchange.close()

    async def _translated(
        self, name: str, context: Context, answer: Callable[[Caller, LogLine], Awaitable[Answer]]
    ) -> Answer:
        """Identify the caller, answer, turn an error into a status, and write the log line."""
        line = LogLine(f"/{SERVICE}/{name}", self._clock.now_ms(), Cancelled.http_status)
        caller = ANONYMOUS
        try:
            try:
                caller = self._identify(context, line)
                made = await answer(caller, line)
                line.status = 200
                return made
            except MeshError:
                raise
            except Exception:  # a fault of ours is this call's alone
                _log.exception("%s failed in the gateway", name)
                raise Internal("internal error") from None
        except MeshError as error:
            line.failed(error)
            await abort_with(context, error)
        finally:
            if not line.is_counted and name != "ListModels":
                self._pipeline.quotas.count(caller)
            line.write(self._metrics, self._clock)

    def _identify(self, context: Context, line: LogLine) -> Caller:
        note_trace(line.notes, headers_of(context))
        caller = self._authenticator.identify(headers_of(context))
        if caller.tenant:
            line.notes["tenant"] = caller.tenant
        return caller

    def _model(self, name: str, caller: Caller, prompt: Prompt, line: LogLine) -> ServedModel:
        """The model that would answer such a prompt."""
        return model_for(self._pipeline, name, caller, prompt)

    async def _reserve(self, caller: Caller, line: LogLine) -> None:
        """Count a call that generates nothing, before anything is done for it; raises `QuotaExceeded`."""
        line.count()
        await reserve_request(self._pipeline.quotas, caller)

    async def _parsed(self, parse: Callable[[Any, Limits], Parsed], request: Any, caller: Caller) -> Parsed:
        """What a request asks for; a long one is parsed in a thread."""
        size_bytes = request.ByteSize()
        if size_bytes <= INLINE_BYTES_MAX:
            return parse(request, self._limits)
        return await self._threads.run(caller, size_bytes, parse, request, self._limits)
