"""Intake: checks and admits a request, or refuses it at once; and the caller's second thoughts."""

from dataclasses import replace

from services.common.domain import FinishReason, Path, Receipt, Request
from services.common.errors import (
    DeadlinePassed,
    InvalidField,
    MeshError,
    ModelNotFound,
    NotResumable,
    NoWorkers,
    PathUnavailable,
    PromptTooLong,
    ProtocolViolation,
    QuarantinedPrompt,
    QueueWaitExceeded,
    TooManyStreams,
)
from services.router.core.actions import EndStream
from services.router.core.admission import Admission, Ask
from services.router.core.demands import excess
from services.router.core.embeddings import misfit as embedding_misfit
from services.router.core.embeddings import wrong_kind
from services.router.core.ending import Ending
from services.router.core.fleet import Pool
from services.router.core.flight import Flight, Phase
from services.router.core.placing import Placing, no_adapter
from services.router.core.state import State
from services.router.core.timers import Timer, TimerKind
from services.router.core.versions import ModelVersions

DEADLINE_CHECK_MS = 60_000.0


class Intake:
    """What gateways ask for."""

    def __init__(self, state: State, placing: Placing, ending: Ending) -> None:
        self._state, self._placing, self._ending = state, placing, ending
        self._versions = ModelVersions(state.config.model_versions)
        self.admission = Admission(state.config, state.random)

    def submit(self, gateway: int, stream: int, request: Request, now_ms: float) -> None:
        """Take a request in. Raises ProtocolViolation when the stream number is in use."""
        if (gateway, stream) in self._state.flights:
            raise ProtocolViolation(f"stream {stream} is in use")
        streams = self._state.streams_of.get(gateway)
        if streams is None:
            return
        request = self._versioned(request)
        receipt = Receipt(request.request_id, prompt_tokens=len(request.prompt), model=request.model)
        if (fault := self._fault(request, len(streams))) is not None:
            self._refuse(gateway, stream, receipt, fault, now_ms)
            return
        if len(request.delivered) >= request.sampling.max_tokens:
            receipt.generated_tokens = len(request.delivered)
            self._state.do(EndStream(gateway, stream, FinishReason.LENGTH, receipt))
            return
        pool = self._state.fleet.pools[request.model]
        flight = Flight(gateway, stream, request, pool, receipt, request.delivered[:], now_ms)
        if (objection := self._objection(flight, now_ms)) is not None:
            self._refuse(gateway, stream, receipt, objection, now_ms)
            return
        streams.add(stream)
        self._state.retry_budget.request_admitted()
        self._admit(flight, now_ms)

    def _refuse(self, gateway: int, stream: int, receipt: Receipt, error: MeshError, now_ms: float) -> None:
        pool = self._state.fleet.pools.get(receipt.model)
        if pool is not None:
            pool.outcomes.count(error.reason, now_ms)
        self._state.do(EndStream(gateway, stream, FinishReason.ERROR, receipt, error))

    def _versioned(self, request: Request) -> Request:
        caller = request.session_key or request.tenant or request.request_id
        version = self._versions.version(request.model, caller)
        return request if version == request.model else replace(request, model=version)

    def _admit(self, flight: Flight, now_ms: float) -> None:
        gateway, stream, deadline_ms = flight.gateway, flight.stream, flight.request.deadline_ms
        self._state.flights[gateway, stream] = flight
        if deadline_ms is not None:
            flight.deadline_at_ms = now_ms + deadline_ms
            self.check_deadline(flight, now_ms)
        self._placing.enqueue(flight, now_ms)

    def check_deadline(self, flight: Flight, now_ms: float) -> None:
        """End a flight whose deadline has passed; else look again, though not only then: a timer stays until
        it is due, and most requests end long before their deadlines.
        """
        if now_ms >= flight.deadline_at_ms:
            self._ending.fail(flight, DeadlinePassed("the request's deadline has passed"), now_ms)
            return
        due_ms = min(flight.deadline_at_ms, now_ms + DEADLINE_CHECK_MS)
        self._state.timers.at(due_ms, Timer(TimerKind.DEADLINE, flight.gateway, flight.stream))

    def _fault(self, request: Request, open_streams: int) -> MeshError | None:
        """Why the request cannot be served, however much room there is."""
        pool = self._state.fleet.pools.get(request.model)
        if pool is None:
            return ModelNotFound(f"the model '{request.model}' is not served here", field="model")
        if open_streams >= self._state.config.limits.streams_per_gateway_max:
            return TooManyStreams(f"{open_streams} requests are in flight", retry_after_ms=1_000)
        if self._state.quarantine.holds(request.tenant, request.prompt):
            return QuarantinedPrompt("workers died with this prompt; it is recorded", field="prompt")
        return excess(request, self._state.config.limits) or _misfit(request, pool)

    def _objection(self, flight: Flight, now_ms: float) -> MeshError | None:
        """Why it is not taken now: the queue that it would wait in, by what is cached of it, has a say."""
        pool, needs_prefill = flight.pool, flight.needs_prefill
        if flight.request.embedding is None:
            needs_prefill = self._state.policies.choose_path(flight).path is Path.DISAGGREGATED
        queue = pool.prefill_queue if needs_prefill else pool.decode_queue
        objection = self.admission.refusal(Ask(flight.request, pool, queue, now_ms))
        if objection is not None:  # more workers would have taken it
            self._state.demand_of(pool.model).arrive(flight.text_tokens, needs_prefill=needs_prefill)
        return objection

    def cancel(self, gateway: int, stream: int, now_ms: float) -> None:
        """The caller has gone; unknown streams are ignored, because the end may have crossed the cancel."""
        flight = self._state.flights.get((gateway, stream))
        if flight is not None:
            self._ending.finish(flight, FinishReason.CANCELLED, now_ms)

    def gateway_attached(self, gateway: int) -> None:
        """Take requests from this session."""
        self._state.streams_of[gateway] = set()

    def gateway_detached(self, gateway: int, now_ms: float) -> None:
        """Nobody waits for these requests any more."""
        for stream in sorted(self._state.streams_of.pop(gateway, ())):
            self._ending.vanish(self._state.flights[gateway, stream], now_ms)

    def waited_too_long(self, flight: Flight, now_ms: float) -> None:
        """End a flight whose allowance of waiting is used up; one placed meanwhile is left alone."""
        wait_ms = self._state.config.limits.queue_wait_ms_max
        if flight.phase is not Phase.WAITING or now_ms - flight.waiting_since_ms < wait_ms:
            return
        pool = flight.pool
        waiting = len(pool.prefill_queue) + len(pool.decode_queue)
        retry_after_ms = pool.placements.retry_after_ms(waiting, now_ms)
        kind: type[MeshError] = QueueWaitExceeded
        message = f"not placed within {wait_ms} ms"
        generates = pool.embedding_model is None
        answering = pool.decode_workers(now_ms) if generates else pool.prefill_workers(now_ms)
        if next(answering, None) is None:
            kind = NoWorkers
            message = f"no {'decode worker' if generates else 'worker'} serves {pool.model}"
        self._ending.fail(flight, kind(message, retry_after_ms=retry_after_ms), now_ms)


_STATE = "penalties, seeds, structured answers and bad words of several tokens"


def _misfit(request: Request, pool: Pool) -> MeshError | None:
    sampling, ask = request.sampling, request.embedding
    if (fault := wrong_kind(request, pool) or _unknown_token(request, pool)) is not None:
        return fault
    if ask is not None and pool.embedding_model is not None:
        return embedding_misfit(request, ask, pool.embedding_model, pool)
    if not request.prompt:
        return InvalidField("the prompt is empty", field="prompt")
    if sampling.max_tokens < 1:
        return InvalidField("max_tokens must be at least 1", field="max_tokens")
    total, most = len(request.prompt) + sampling.max_tokens, pool.max_model_len_tokens
    if most and total > most:
        return PromptTooLong(
            f"the model holds {most} tokens; the prompt has {len(request.prompt)} and max_tokens is "
            f"{sampling.max_tokens}",
            field="max_tokens" if len(request.prompt) < most else "prompt",
        )
    if sampling.thinking_tokens_max is not None and not pool.limits_thinking:
        return InvalidField("these workers keep no budget of reasoning tokens", field="thinking_token_budget")
    if request.lora and request.lora not in pool.adapters:
        return no_adapter(request, pool)
    return None if sampling.continues_exactly else _inexact(request, pool)


def _unknown_token(request: Request, pool: Pool) -> MeshError | None:
    """A token that the model cannot read; an engine would die of it."""
    size = pool.vocabulary_size
    for name, ids in (("prompt", request.prompt), ("delivered", request.delivered)):
        if size and ids and (highest := max(ids)) >= size:
            words = f"{name}: token id {highest} is unknown to the model, whose ids lie below {size}"
            return InvalidField(words, field=name)
    return None


def _inexact(request: Request, pool: Pool) -> MeshError | None:
    """Why sampling that tells output from prompt cannot be served."""
    if request.delivered and not pool.can_replay:
        return NotResumable(f"{_STATE} cannot be continued on these engines")
    if request.strict_disaggregation and (request.delivered or not pool.can_replay):
        return PathUnavailable(f"{_STATE} need the local path")
    return None
