"""The REST API: which URL does what, and the one log line of each request."""

import functools
from collections.abc import Coroutine
from typing import Any

import msgspec
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from services.common.clock import Clock
from services.common.errors import (
    MeshError,
    MethodNotAllowed,
    ModelNotFound,
    NotAllowed,
    NoWorkers,
    RouterUnavailable,
    SlowReader,
)
from services.common.limits import Limits
from services.common.version import VERSION
from services.gateway.accounts.metering.report import UsageReport
from services.gateway.call.parts import Authenticator, Everybody, Quotas, Unlimited
from services.gateway.call.request_id import kept_request_id
from services.gateway.call.request_log import log_request, note_trace
from services.gateway.http import Exchange, Handler, HttpResponse, Routes
from services.gateway.idempotency import Idempotency
from services.gateway.metrics import Metrics
from services.gateway.models.served import Listed, Models
from services.gateway.rest.anthropic.body import parse_messages
from services.gateway.rest.anthropic.errors import error_response as anthropic_error
from services.gateway.rest.anthropic.format import MessagesFormat
from services.gateway.rest.cors import Cors
from services.gateway.rest.doorway import Doorway
from services.gateway.rest.embeddings import Embedder
from services.gateway.rest.generate import Generator, Parse
from services.gateway.rest.openai.chat import parse_chat
from services.gateway.rest.openai.chat_format import ChatFormat
from services.gateway.rest.openai.completion import parse_completion
from services.gateway.rest.openai.completion_format import CompletionFormat
from services.gateway.rest.openai.format import FormatType
from services.gateway.rest.openapi import document
from services.gateway.rest.responses.door import ResponsesDoor
from services.gateway.rest.tokenizing import Tokenizing

_UNLOGGED = ("/health", "/ping", "/ready", "/metrics")
_LOADS = frozenset(
    ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings")
)
"""What workers run; requests for the rest are answered here."""
_ANTHROPIC = "/v1/messages"
_OPEN = frozenset(("/health", "/ping", "/version", "/ready", "/openapi.json"))
"""Probes have no credential, nor has who only reads how to ask."""


class Api:
    """Answers every request (a `Handler`)."""

    def __init__(
        self,
        generator: Generator,
        embedder: Embedder,
        models: Models,
        metrics: Metrics,
        limits: Limits,
        clock: Clock,
        authenticator: Authenticator | None = None,
        *,
        idempotency: Idempotency,
        tokenizing: Tokenizing,
        responses: ResponsesDoor,
        usage: UsageReport | None = None,
        cors: Cors | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self.is_leaving = False
        """True once the process is to end: no longer ready."""
        self._in_flight = 0
        """Requests that workers run or will run."""
        self._generator = generator
        self._embedder = embedder
        self._idempotency = idempotency
        self._tokenizing = tokenizing
        self._cors = cors or Cors(())
        authenticator = authenticator or Everybody()
        self._shows_internals_to_all = authenticator.shows_internals_to_all
        self._models = models
        self._metrics = metrics
        self._limits = limits
        self._clock = clock
        self._description = _description()
        self.routes = Routes()
        """Every URL."""
        add = self.routes.add
        add("POST", "/v1/chat/completions", lambda x: self._generate(x, parse_chat, ChatFormat))
        add("POST", "/v1/completions", lambda x: self._generate(x, parse_completion, CompletionFormat))
        add("POST", "/v1/responses", lambda x: self._once(x, responses.answer))
        add("POST", "/v1/responses/input_tokens", responses.count)
        add("GET", "/v1/responses/*", responses.find)
        add("DELETE", "/v1/responses/*", responses.remove)
        add("POST", "/v1/embeddings", self._embed)
        add("POST", "/v1/messages", lambda x: self._generate(x, parse_messages, MessagesFormat))
        add("POST", "/v1/messages/count_tokens", tokenizing.count)
        add("POST", "/tokenize", tokenizing.tokenize)
        add("POST", "/detokenize", tokenizing.detokenize)
        add("GET", "/v1/models", self._list_models)
        add("GET", "/v1/models/*", self._describe_model)
        add("GET", "/openapi.json", self._describe)
        add("GET", "/health", self._health)
        add("GET", "/ping", self._health)
        add("GET", "/version", self._show_version)
        add("GET", "/load", self._show_load)
        add("GET", "/ready", self._ready)
        add("GET", "/metrics", self._show_metrics)
        if usage is not None:
            add("GET", "/admin/usage", usage.answer)
        open_paths = _OPEN | {"/metrics"} if self._shows_internals_to_all else _OPEN
        self._quotas = quotas or Unlimited()
        doorway = Doorway(authenticator, self.routes, open_paths, self._cors, self._quotas, limits)
        self.admit = doorway.admit
        """Decides by a request's head whether its body is read."""

    def __call__(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Give the request its id, see to its log line, and let its route answer."""
        exchange.on_end = self._ended
        self._in_flight += _is_load(exchange)
        if exchange.request.path.startswith(_ANTHROPIC):
            exchange.error_response = anthropic_error
        note_trace(exchange.notes, exchange.request.headers)
        request_id = exchange.request.headers.get("x-request-id", "")
        exchange.notes["request_id"] = kept_request_id(request_id, self._limits.request_id_chars_max)
        exchange.headers = (
            ("x-request-id", str(exchange.notes["request_id"])),
            *self._cors.headers(exchange.request.headers),
        )
        return self._answer(exchange)

    def _answer(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        request = exchange.request
        if exchange.caller.tenant:
            exchange.notes["tenant"] = exchange.caller.tenant
        if request.refusal is not None and not isinstance(request.refusal, MethodNotAllowed):
            raise request.refusal
        if self._cors.is_preflight(request):
            exchange.respond(self._cors.preflight(request))
            return None
        return self.routes(exchange)

    def _generate(
        self, exchange: Exchange, parse: Parse, format_type: FormatType
    ) -> Coroutine[Any, Any, None] | None:
        def answer(exchange: Exchange) -> Coroutine[Any, Any, None] | None:
            return self._generator.answer(exchange, exchange.caller, parse, format_type)

        return self._once(exchange, answer)

    def _embed(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        return self._once(exchange, self._embedder.answer)

    def _once(self, exchange: Exchange, answer: Handler) -> Coroutine[Any, Any, None] | None:
        """The same answer again for an idempotency key that was used."""
        return self._idempotency.answer(exchange, exchange.caller.tenant, answer)

    def _ended(self, exchange: Exchange) -> None:
        """Count and log a request; `notes` carry what its handlers found out."""
        self._in_flight -= _is_load(exchange)
        request = exchange.request
        if request.method == "POST" and not request.is_counted:
            request.count()
            self._quotas.count(exchange.caller)
        took_ms = self._clock.now_ms() - request.received_ms
        route = self.routes.pattern(request.path) or "none"
        self._metrics.count(route, exchange.status or 499, took_ms)
        if isinstance(error := exchange.notes.get("error"), MeshError):
            self._metrics.count_refusal(route, error.reason)
            if isinstance(error, SlowReader):
                self._metrics.slow_readers.inc()
        if request.path in _UNLOGGED and exchange.status == 200:
            return
        log_request(request.method, request.path[:200], exchange.status or 499, took_ms, exchange.notes)

    def _list_models(self, exchange: Exchange) -> None:
        listed = self._models.listing()
        names = filter(exchange.caller.may_use, sorted(listed))
        data = [self._model_json(name, listed[name]) for name in names]
        _respond_json(exchange, {"object": "list", "data": data})

    def _describe_model(self, exchange: Exchange) -> None:
        name = exchange.request.path.removeprefix("/v1/models/")
        listed = self._models.listing().get(name)
        if listed is None or not exchange.caller.may_use(name):
            raise ModelNotFound(f"The model {name[:200]!r} does not exist", field="model")
        _respond_json(exchange, self._model_json(name, listed))

    def _model_json(self, name: str, listed: Listed) -> dict[str, object]:
        return {
            "id": name,
            "object": "model",
            "created": self._models.created_s,
            "owned_by": "pdmesh",
            "root": listed.parent or name,
            "max_model_len": listed.model_len,
            **({"parent": listed.parent} if listed.parent else {}),
        }

    def _describe(self, exchange: Exchange) -> None:
        exchange.respond(HttpResponse(200, self._description))

    def _health(self, exchange: Exchange) -> None:
        _respond_json(exchange, {"status": "ok", "version": VERSION})

    def _show_version(self, exchange: Exchange) -> None:
        _respond_json(exchange, {"version": VERSION})

    def _show_load(self, exchange: Exchange) -> None:
        if not self._sees_internals(exchange):
            raise NotAllowed("/load is not for you: --internals-for says who may see it")
        _respond_json(exchange, {"server_load": self._in_flight})

    def _ready(self, exchange: Exchange) -> None:
        if self.is_leaving or not self._models.is_attached:
            raise RouterUnavailable("no router is connected, or this gateway is leaving", retry_after_ms=1000)
        if not self._models.served():
            raise NoWorkers("no model is served", retry_after_ms=1000)
        told = {"models": sorted(self._models.served())} if self._sees_internals(exchange) else {}
        _respond_json(exchange, {"status": "ready", **told})

    def _sees_internals(self, exchange: Exchange) -> bool:
        """Whether the caller, who may have no credential here, may see what is inside."""
        return self._shows_internals_to_all or (
            not exchange.caller.is_anonymous and exchange.caller.sees_internals
        )

    def _show_metrics(self, exchange: Exchange) -> None:
        if not self._sees_internals(exchange):
            raise NotAllowed("/metrics is not for you: --internals-for says who may see it")
        body = generate_latest(self._metrics.registry)
        exchange.respond(HttpResponse(200, body, CONTENT_TYPE_PLAIN_0_0_4))


def _is_load(exchange: Exchange) -> bool:
    return exchange.request.method == "POST" and exchange.request.path in _LOADS


@functools.cache
def _description() -> bytes:
    return msgspec.json.encode(document())


def _respond_json(exchange: Exchange, value: object) -> None:
    exchange.respond(HttpResponse(200, msgspec.json.encode(value)))
