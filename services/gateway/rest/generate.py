"""From an HTTP request that asks for a generation to a call, and its answer's writer."""

import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any

from services.common.clock import Clock
from services.common.errors import InvalidField
from services.common.limits import Limits
from services.gateway.call.call import Call, class_of
from services.gateway.call.generation import Generation
from services.gateway.call.pipeline import Pipeline
from services.gateway.http import Exchange
from services.gateway.rest.body_reader import BodyReader
from services.gateway.rest.openai.format import FormatType
from services.gateway.rest.openai.ranges import DEADLINE_MS_MAX, SESSION_KEY_CHARS_MAX
from services.gateway.rest.writers.rest import RestWriter
from services.gateway.rest.writers.streamed import StreamedWriter
from services.gateway.rest.writers.whole import WholeWriter
from services.gateway.tenants import Caller

Parse = Callable[[bytes, Limits], Generation]


class Generator:
    """Answers the endpoints that generate."""

    def __init__(self, pipeline: Pipeline, bodies: BodyReader, limits: Limits, clock: Clock) -> None:
        self._pipeline = pipeline
        self._bodies = bodies
        self._limits = limits
        self._clock = clock

    def answer(
        self, exchange: Exchange, caller: Caller, parse: Parse, format_type: FormatType
    ) -> Coroutine[Any, Any, None] | None:
        """Check the body and hand the call to the pipeline."""
        if self._bodies.is_long(exchange):
            return self._answer_later(exchange, caller, parse, format_type)
        return self._start(exchange, caller, self._bodies.parsed(exchange, parse), format_type)

    async def _answer_later(
        self, exchange: Exchange, caller: Caller, parse: Parse, format_type: FormatType
    ) -> None:
        generation = await self._bodies.parsed_soon(exchange, parse)
        if exchange.is_open:
            starting = self._start(exchange, caller, generation, format_type)
            if starting is not None:
                await starting

    def _start(
        self, exchange: Exchange, caller: Caller, generation: Generation, format_type: FormatType
    ) -> Coroutine[Any, Any, None] | None:
        call = call_of(exchange, caller, generation)
        return self._pipeline.start(call, self._writer(exchange, call, format_type))

    def _writer(self, exchange: Exchange, call: Call, format_type: FormatType) -> RestWriter:
        if call.generation.is_stream:
            return StreamedWriter(exchange, call, format_type, self._clock, self._limits)
        return WholeWriter(exchange, call, format_type, self._clock, self._limits)


def call_of(exchange: Exchange, caller: Caller, generation: Generation) -> Call:
    """The call of a body and its request's headers; raises `InvalidField`."""
    headers = exchange.request.headers
    path = headers.get("x-pdmesh-path", "any")
    if path not in ("any", "disaggregated"):
        raise InvalidField("x-pdmesh-path: must be any or disaggregated", field="x-pdmesh-path")
    session_key = headers.get("x-pdmesh-session") or generation.session_key
    if len(session_key) > SESSION_KEY_CHARS_MAX:
        raise InvalidField(
            f"x-pdmesh-session: at most {SESSION_KEY_CHARS_MAX} characters", field="x-pdmesh-session"
        )
    if headers.get("x-pdmesh-receipt") == "1":
        generation = dataclasses.replace(generation, includes_receipt=True)
    if path == "disaggregated":
        generation = dataclasses.replace(generation, strict_disaggregation=True)
    if generation.request_id and not headers.get("x-request-id"):
        _rename(exchange, generation.request_id)
    return Call(
        request_id=str(exchange.notes["request_id"]),
        generation=generation,
        received_ms=exchange.request.received_ms,
        caller=caller,
        session_key=session_key,
        deadline_ms=_deadline_ms(headers.get("x-pdmesh-deadline-ms"), generation.deadline_ms),
        service_class=class_of(caller, generation.service_class),
        priority=generation.priority,
        notes=exchange.notes,
        on_reserved=exchange.request.count,
    )


def _rename(exchange: Exchange, request_id: str) -> None:
    """Let the answer and the log name the request as its body does."""
    exchange.notes["request_id"] = request_id
    others = [(name, value) for name, value in exchange.headers if name != "x-request-id"]
    exchange.headers = (("x-request-id", request_id), *others)


def _deadline_ms(header: str | None, field: int | None) -> int | None:
    """The shorter of a header's and the body's deadline."""
    if header is None:
        return field
    is_number = header.isascii() and header.isdecimal() and len(header) <= len(str(DEADLINE_MS_MAX))
    given = int(header) if is_number else 0
    if not 0 < given <= DEADLINE_MS_MAX:
        raise InvalidField(
            f"x-pdmesh-deadline-ms: must be a number from 1 to {DEADLINE_MS_MAX}",
            field="x-pdmesh-deadline-ms",
        )
    return given if field is None else min(given, field)
