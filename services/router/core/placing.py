"""Placing: late binding of waiting flights to workers that have room."""

from dataclasses import replace
from enum import IntEnum

from services.common.domain import HandoffTicket, Job, JobKind, Path, Request, Role
from services.common.errors import NoWorkers, PathUnavailable
from services.common.limits import DEFAULTS
from services.router.core.actions import StartJob
from services.router.core.ending import Ending
from services.router.core.fleet import Pool, Seat, Worker
from services.router.core.flight import Flight, Phase
from services.router.core.handoffs import Handoff, HandoffState
from services.router.core.state import CANARY_GATEWAY, State
from services.router.core.timers import Timer, TimerKind

NO_ADAPTER_RETRY_AFTER_MS = 1_000
"""A worker with the adapter may be starting; nothing measured says when it is there."""


class Outcome(IntEnum):
    """What came of trying to place a flight."""

    LEFT_QUEUE = 1
    NEEDS_DECODE = 2
    NEEDS_PREFILL = 3


class Placing:
    """Takes flights out of the queues, oldest first, as long as there is room for them."""

    def __init__(self, state: State, ending: Ending) -> None:
        self._state, self._ending = state, ending

    def enqueue(self, flight: Flight, now_ms: float, *, returned: bool = False) -> None:
        """Choose the path and wait in its tier's queue."""
        if flight.handoff is None and flight.request.embedding is None:
            choice = self._state.policies.choose_path(flight)
            flight.path, flight.receipt.path_reason = choice.path, choice.reason
        flight.phase, flight.waiting_since_ms = Phase.WAITING, now_ms
        needs_prefill = flight.needs_prefill
        queue = flight.pool.prefill_queue if needs_prefill else flight.pool.decode_queue
        had_its_turn = returned or flight.request.resubmitted
        (queue.put_back if had_its_turn else queue.append)(flight)
        demand = self._state.demand_of(flight.pool.model)
        if not had_its_turn:
            demand.arrive(flight.text_tokens, needs_prefill=needs_prefill)
        elif not returned:
            demand.moved_ms = now_ms
        self._state.dirty_pools[flight.pool.model] = flight.pool
        due_ms = now_ms + self._state.config.limits.queue_wait_ms_max
        self._state.timers.at(due_ms, Timer(TimerKind.QUEUE_WAIT, flight.gateway, flight.stream))

    def place_waiting(self, now_ms: float) -> None:
        """Place what can be placed in every pool where something changed."""
        while self._state.dirty_pools:
            _, pool = self._state.dirty_pools.popitem()
            somebody_waits = len(pool.prefill_queue) + len(pool.decode_queue) > 0
            pool.waits_for_decode = somebody_waits and self._place_pool(pool, now_ms)

    def _place_pool(self, pool: Pool, now_ms: float) -> bool:
        """Whether the oldest of those left lacks a decode worker."""
        prefill_has_room = True
        while (flight := _next_flight(pool, now_ms, with_prefill=prefill_has_room)) is not None:
            outcome = self._try(flight, now_ms)
            if outcome is Outcome.NEEDS_DECODE:
                return True
            prefill_has_room &= outcome is Outcome.LEFT_QUEUE
        return False

    def _try(self, flight: Flight, now_ms: float) -> Outcome:
        if flight.request.embedding is not None:
            return self._try_embedding(flight, now_ms)
        decode = self._state.policies.pick_decode(flight, now_ms)
        if decode is None:
            return self._without_worker(flight, Outcome.NEEDS_DECODE, now_ms)
        if flight.handoff is not None:
            self.start_adopting(flight, self._leave_for(flight, decode, now_ms), now_ms)
        elif flight.path is Path.LOCAL:
            self.start_local(flight, self._leave_for(flight, decode, now_ms), now_ms)
        else:
            return self._try_disaggregated(flight, decode, now_ms)
        return Outcome.LEFT_QUEUE

    def _try_embedding(self, flight: Flight, now_ms: float) -> Outcome:
        """Any worker that prefills will do, and keeps nothing for another."""
        worker = self._state.policies.pick_prefill(flight, lambda _: True, now_ms)
        if worker is None:
            return self._without_worker(flight, Outcome.NEEDS_PREFILL, now_ms)
        self._leave_queue(flight, now_ms)
        self._start_prefill(flight, worker, now_ms)
        return Outcome.LEFT_QUEUE

    def _without_worker(self, flight: Flight, needs: Outcome, now_ms: float) -> Outcome:
        """It waits, unless it would wait for an adapter that nobody has any more, and others behind it."""
        if not flight.request.lora or flight.request.lora in flight.pool.adapters:
            return needs
        self._ending.fail(flight, no_adapter(flight.request, flight.pool), now_ms)
        return Outcome.LEFT_QUEUE

    def _try_disaggregated(self, flight: Flight, decode: Worker, now_ms: float) -> Outcome:
        lora = flight.request.lora
        prefill = self._state.policies.pick_prefill(
            flight, lambda w: self._may_hand_over(w, decode, now_ms), now_ms
        )
        if prefill is None:
            able = [w for w in flight.pool.prefill_workers(now_ms) if w.runs_adapter(lora)]
            if any(self._may_hand_over(w, decode, now_ms) for w in able):
                return Outcome.NEEDS_PREFILL
            others = [w for w in able if w is not decode]
            if any(self._is_awaited(w, decode, now_ms) for w in others):
                return Outcome.NEEDS_PREFILL
            self._go_without_prefill(flight, decode, self._why_none(others, decode, now_ms), now_ms)
            return Outcome.LEFT_QUEUE
        self._leave_for(flight, decode, now_ms)
        self._start_prefill(flight, prefill, now_ms)
        return Outcome.LEFT_QUEUE

    def _may_hand_over(self, prefill: Worker, decode: Worker, now_ms: float) -> bool:
        if prefill is decode or not self._state.pairs.may_hand_over(prefill, decode, now_ms):
            return False
        return not self._state.config.canary_interval_ms or self._state.pairs.is_tried(prefill, decode)

    def _is_awaited(self, prefill: Worker, decode: Worker, now_ms: float) -> bool:
        """Whether a new pair's first canary is worth waiting for."""
        pairs, config = self._state.pairs, self._state.config
        if not pairs.may_hand_over(prefill, decode, now_ms):
            return False
        pair = pairs.of(prefill, decode)
        if pair.wanted_since_ms is None:
            pair.wanted_since_ms = now_ms
            due_ms = now_ms + config.canary_wait_ms_max
            self._state.timers.at(due_ms, Timer(TimerKind.BREAKER, decode.session, 0))
        return now_ms - pair.wanted_since_ms < config.canary_wait_ms_max

    def _why_none(self, others: list[Worker], decode: Worker, now_ms: float) -> str:
        """Why no prefill worker's KV can come to this decode worker, in the receipt's words."""
        if not others:
            return "no_prefill_worker"
        known = [self._state.pairs.peek(w, decode) for w in others]
        if any(pair.refusal for pair in known):
            return "pair_refused"
        return "pair_suspended" if any(p.breaker.is_open(now_ms) for p in known) else "pair_untried"

    def _go_without_prefill(self, flight: Flight, decode: Worker, reason: str, now_ms: float) -> None:
        if flight.request.strict_disaggregation:
            self._ending.fail(flight, PathUnavailable(f"no handoff is possible: {reason}"), now_ms)
            return
        flight.path, flight.receipt.path_reason = Path.LOCAL, reason
        self.start_local(flight, self._leave_for(flight, decode, now_ms), now_ms)

    def _leave_for(self, flight: Flight, decode: Worker, now_ms: float) -> Seat:
        self._leave_queue(flight, now_ms)
        self._state.policies.placed(flight, Role.DECODE, decode, now_ms)
        return self._reserve(flight, decode)

    def _leave_queue(self, flight: Flight, now_ms: float) -> None:
        self._ending.leave_queue(flight, now_ms)
        flight.pool.placements.count(now_ms)
        if not flight.is_placed_again:
            self._charge(flight)

    def _reserve(self, flight: Flight, decode: Worker) -> Seat:
        flight.receipt.path = flight.path
        kv_tokens = self._state.policies.kv_tokens(flight)
        flight.decode_seat = seat = Seat(decode, decode.blocks_for(kv_tokens))
        flight.receipt.decode_worker = decode.worker_id
        self._state.demand_of(flight.pool.model).seated(seat.blocks)
        return seat

    def place_canary(self, flight: Flight, prefill: Worker | None, decode: Worker, now_ms: float) -> None:
        """Place the sentinel's request on given workers, past the queues, without second chances."""
        self._state.flights[flight.gateway, flight.stream] = flight
        flight.announced, flight.receipt.retries = True, self._state.config.limits.retries_per_request_max
        seat = self._reserve(flight, decode)
        if prefill is None:
            self.start_local(flight, seat, now_ms)
        else:
            self._start_prefill(flight, prefill, now_ms)

    def _charge(self, flight: Flight) -> None:
        request, shares = flight.request, flight.pool.shares
        shares.served_next(request.tenant)
        shares.charge(request.tenant, prompt_tokens=len(request.prompt), weight=request.tenant_weight)

    def _start_prefill(self, flight: Flight, prefill: Worker, now_ms: float) -> None:
        text_tokens = flight.text_tokens
        flight.prefill_seat = Seat(prefill, prefill.blocks_for(text_tokens), text_tokens)
        flight.receipt.prefill_worker = prefill.worker_id
        self._state.policies.placed(flight, Role.PREFILL, prefill, now_ms)
        flight.phase, flight.dispatched_ms = Phase.PREFILLING, now_ms
        self._state.demand_of(flight.pool.model).prefilling(text_tokens)
        kind = JobKind.PREFILL if flight.request.embedding is None else JobKind.EMBED
        self._start(flight, prefill, kind, now_ms)
        self._expect_progress(flight, now_ms + self._state.config.prefill_timeout_ms)

    def start_adopting(self, flight: Flight, seat: Seat, now_ms: float) -> None:
        """Have the reserved decode worker adopt the flight's offer, or run the text itself when too late."""
        handoff = flight.handoff
        expires_in_ms = self._ticket_ms(handoff, now_ms) if handoff is not None else 0
        if handoff is None or expires_in_ms <= 0:
            self.fall_back(flight, seat, "handoff_expired", now_ms)
            return
        offer = handoff.offer
        ticket = HandoffTicket(
            offer.handoff_id, handoff.worker.worker_id, offer.connector_params, offer.kv_tokens, expires_in_ms
        )
        if flight.gateway == CANARY_GATEWAY:
            ticket = replace(
                ticket, expires_in_ms=min(expires_in_ms, self._state.config.canary_handoff_ms_max)
            )
        flight.phase = Phase.ADOPTING
        self._start(flight, seat.worker, JobKind.ADOPT, now_ms, ticket)
        self._expect_progress(flight, now_ms + ticket.expires_in_ms + self._state.config.adoption_grace_ms)

    def _ticket_ms(self, handoff: Handoff, now_ms: float) -> int:
        if handoff.state is not HandoffState.OFFERED:
            return 0
        safe_ms = handoff.offer.lease_ms - self._state.config.limits.handoff_margin_ms
        return int(handoff.offered_ms + safe_ms - now_ms)

    def fall_back(self, flight: Flight, seat: Seat, reason: str, now_ms: float) -> None:
        """Run the text on the reserved decode worker; an error where disaggregation was demanded."""
        if flight.request.strict_disaggregation:
            self._ending.fail(flight, PathUnavailable(f"the handoff failed: {reason}"), now_ms)
            return
        self._ending.drop_handoff(flight, now_ms)
        flight.path = flight.receipt.path = Path.LOCAL
        flight.receipt.path_reason, flight.receipt.kv_size_bytes = reason, 0
        self.start_local(flight, seat, now_ms)

    def start_local(self, flight: Flight, seat: Seat, now_ms: float) -> None:
        """Have the reserved decode worker run the text and generate."""
        flight.phase, flight.dispatched_ms = Phase.DECODING, now_ms
        self._start(flight, seat.worker, JobKind.LOCAL, now_ms)
        config = self._state.config
        replay_ms = 0 if flight.request.sampling.continues_exactly else len(flight.delivered)
        patience_ms = config.prefill_timeout_ms + replay_ms * config.replay_ms_per_token
        self._expect_progress(flight, now_ms + patience_ms)

    def _start(
        self,
        flight: Flight,
        worker: Worker,
        kind: JobKind,
        now_ms: float,
        ticket: HandoffTicket | None = None,
    ) -> None:
        request = flight.request
        job = Job(
            stream=worker.start(flight, now_ms),
            kind=kind,
            request_id=request.request_id,
            prompt=request.prompt,
            sampling=request.sampling,
            delivered=flight.delivered[:],
            cache_salt=request.cache_salt,
            lora=request.lora,
            priority=engine_priority(request),
            handoff=ticket,
            embedding=request.embedding,
        )
        self._state.do(StartJob(worker.session, job))

    def _expect_progress(self, flight: Flight, due_ms: float) -> None:
        self._state.expect_progress(flight, due_ms)


def engine_priority(request: Request) -> int:
    """Class first, then the request's own priority within it; lower runs first."""
    return int(request.service_class) * (2 * DEFAULTS.priority_max + 1) + request.priority


def no_adapter(request: Request, pool: Pool) -> NoWorkers:
    """Why a request with an adapter cannot be served at the moment."""
    words = f"no decode worker serves {pool.model} with the adapter '{request.lora}'"
    return NoWorkers(words, field="model", retry_after_ms=NO_ADAPTER_RETRY_AFTER_MS)


def _next_flight(pool: Pool, now_ms: float, *, with_prefill: bool) -> Flight | None:
    """The first of both queues; the prefill queue counts only while prefill workers have room."""
    local = pool.decode_queue.head(now_ms)
    remote = pool.prefill_queue.head(now_ms) if with_prefill else None
    if local is None or remote is None:
        return local or remote
    remote_first = pool.prefill_queue.rank(remote, now_ms) < pool.decode_queue.rank(local, now_ms)
    return remote if remote_first else local
