"""Progress: what workers report of their jobs. The token path is here, so it is written for speed."""

from array import array

from services.common.domain import (
    FinishReason,
    HandoffAdopted,
    HandoffOffered,
    HandoffReleased,
    JobFinished,
    StepOutput,
    TokenColumns,
    TokenLogprobs,
)
from services.common.domain.tokens import no_tokens, tokens
from services.router.core.actions import Announce, ReleaseHandoff, ReportPair, SendTokenEach, SendTokens
from services.router.core.ending import Ending
from services.router.core.fleet import Worker
from services.router.core.flight import Flight, Phase
from services.router.core.handoffs import Handoff, HandoffState
from services.router.core.pairs import Pair
from services.router.core.placing import Placing
from services.router.core.recovery import Recovery
from services.router.core.state import State


class Progress:
    """Takes engine steps in."""

    def __init__(self, state: State, placing: Placing, recovery: Recovery, ending: Ending) -> None:
        self._state, self._placing = state, placing
        self._recovery, self._ending = recovery, ending

    def step(self, worker: Worker, step: StepOutput, now_ms: float) -> None:
        """Take one step's news in, part by part. News of jobs that have ended is late, and dropped."""
        for offered in step.offered:
            self._offered(worker, offered, now_ms)
        for adopted in step.adopted:
            self._adopted(worker, adopted, now_ms)
        self.tokens(worker, step.tokens, now_ms)
        for finished in step.finished:
            self._finished(worker, finished, now_ms)
        if step.failed:
            self._recovery.jobs_failed(worker, step.failed, now_ms)
        for released in step.released:
            self._released(worker, released)
        if step.kv_changes:
            self._state.policies.kv_changed(worker, step.kv_changes)

    def tokens(self, worker: Worker, columns: TokenColumns, now_ms: float) -> None:
        """Take a step's tokens in, those of jobs that have ended dropped."""
        if columns.is_one_each():
            self.one_token_each(worker, columns.streams, columns.token_ids, now_ms)
        else:
            self._tokens(worker, columns, now_ms)

    def one_token_each(
        self, worker: Worker, streams: "array[int]", token_ids: "array[int]", now_ms: float
    ) -> bool:
        """The same of the usual step. Returns whether anything has ended with it."""
        worker.heard_ms = now_ms
        jobs = worker.jobs
        by_gateway: dict[int, tuple[array[int], array[int]]] = {}
        too_long: dict[Flight, None] = {}
        gateway = -1
        for stream, token_id in zip(streams, token_ids, strict=True):
            flight = jobs.get(stream)
            if flight is None:
                continue
            delivered = flight.delivered
            if len(delivered) >= flight.tokens_max:
                too_long[flight] = None
                continue
            delivered.append(token_id)
            if flight.decode_since_ms is None:
                self._decoding(flight, now_ms)
            if flight.gateway != gateway:
                gateway = flight.gateway
                numbers, ids = by_gateway.setdefault(gateway, (no_tokens(), no_tokens()))
            numbers.append(flight.stream)
            ids.append(token_id)
        for gateway, (numbers, ids) in by_gateway.items():
            self._state.actions.append(SendTokenEach(gateway, numbers, ids))
        for flight in too_long:
            self._ending.finish(flight, FinishReason.LENGTH, now_ms)
        return len(too_long) > 0

    def _tokens(self, worker: Worker, columns: TokenColumns, now_ms: float) -> None:
        worker.heard_ms = now_ms
        jobs, ids = worker.jobs, columns.token_ids
        by_gateway: dict[int, TokenColumns] = {}
        too_long: dict[Flight, None] = {}
        described = columns.logprobs.by_stream() if columns.logprobs is not None else {}
        begin = 0
        for stream, count in zip(columns.streams, columns.counts, strict=True):
            end = begin + count
            flight = jobs.get(stream)
            if flight is not None:
                piece = ids[begin:end]
                flight.delivered.extend(piece)
                if flight.decode_since_ms is None:
                    self._decoding(flight, now_ms)
                over = len(flight.delivered) - flight.request.sampling.max_tokens
                if over > 0:
                    piece = _cut(flight, piece, over)
                    too_long[flight] = None
                out = by_gateway.get(flight.gateway)
                if out is None:
                    out = by_gateway[flight.gateway] = TokenColumns()
                if piece:
                    out.add(flight.stream, piece)
                    if stream in described:
                        described[stream] = _pass_on(out, flight, described[stream], len(piece))
            begin = end
        for gateway, out in by_gateway.items():
            self._state.do(SendTokens(gateway, out))
        for flight in too_long:
            self._ending.finish(flight, FinishReason.LENGTH, now_ms)

    def _decoding(self, flight: Flight, now_ms: float) -> None:
        self._first_token(flight, now_ms)
        flight.phase, flight.decode_since_ms = Phase.DECODING, now_ms
        self._ending.announce(flight)

    def _offered(self, worker: Worker, offer: HandoffOffered, now_ms: float) -> None:
        flight = worker.jobs.get(offer.stream)
        if flight is None or flight.phase is not Phase.PREFILLING or flight.prefill_seat is None:
            self._state.do(ReleaseHandoff(worker.session, offer.handoff_id))
            return
        self._ending.stop_job(flight, abort=False)
        self._state.worker_succeeded(worker, now_ms)
        self._enter(flight, worker, offer, now_ms)
        self._ending.announce(flight)
        self._first_tokens(flight, offer)
        if len(flight.delivered) >= flight.request.sampling.max_tokens:
            self._ending.finish(flight, FinishReason.LENGTH, now_ms)
        elif flight.decode_seat is None:
            self._placing.enqueue(flight, now_ms, returned=True)
        else:
            self._placing.start_adopting(flight, flight.decode_seat, now_ms)

    def _enter(self, flight: Flight, worker: Worker, offer: HandoffOffered, now_ms: float) -> None:
        seat, flight.prefill_seat = flight.prefill_seat, None
        if seat is None:
            return
        seat.stop_running()
        self._state.room_changed(worker)
        flight.handoff = Handoff(offer, worker, seat, now_ms)
        self._state.ledger.open(flight.handoff)
        receipt = flight.receipt
        flight.found_cached(offer.cached_tokens)
        receipt.kv_size_bytes = offer.kv_size_bytes
        self._first_token(flight, now_ms)

    def _first_token(self, flight: Flight, now_ms: float) -> None:
        """The prompt has run."""
        if flight.dispatched_ms is not None:
            took_ms = now_ms - flight.dispatched_ms
            flight.receipt.prefill_ms += took_ms
            flight.pool.first_token_ms.add(took_ms)
            flight.dispatched_ms = None

    def _first_tokens(self, flight: Flight, offer: HandoffOffered) -> None:
        left = flight.request.sampling.max_tokens - len(flight.delivered)
        ids = offer.token_ids[:left]
        if not ids:
            return
        flight.delivered.extend(ids)
        columns = TokenColumns(tokens([flight.stream]), tokens([len(ids)]), ids)
        if offer.logprobs is not None:
            columns.add_logprobs(flight.stream, offer.logprobs.part(0, len(ids)))
        self._state.do(SendTokens(flight.gateway, columns))

    def _adopted(self, worker: Worker, adopted: HandoffAdopted, now_ms: float) -> None:
        flight = worker.jobs.get(adopted.stream)
        if flight is None or flight.handoff is None or flight.handoff.handoff_id != adopted.handoff_id:
            return
        handoff = flight.handoff
        handoff.settle(HandoffState.ADOPTED, now_ms)
        flight.receipt.handoff_ms += now_ms - handoff.offered_ms
        flight.receipt.kv_size_bytes = adopted.kv_size_bytes or flight.receipt.kv_size_bytes
        flight.phase, flight.decode_since_ms = Phase.DECODING, now_ms
        self._count_handoff(handoff, worker, adopted, now_ms)

    def _count_handoff(
        self, handoff: Handoff, decode: Worker, adopted: HandoffAdopted, now_ms: float
    ) -> None:
        if handoff.worker.pool is None:
            return
        pair = self._state.pairs.of(handoff.worker, decode)
        pair.handoffs += 1
        if pair.handoffs == 1 or pair.refusal:
            self._first_handoff(pair)
        if pair.breaker.success():
            self._state.do(Announce(pair.title, is_shut_out=False, why="a handoff has succeeded"))
        pair.transport = adopted.transport or pair.transport
        pair.handoff_ms.add(now_ms - handoff.offered_ms)
        if adopted.transfer_ms > 0:
            pair.transfer_gb_per_s.add(adopted.kv_size_bytes / adopted.transfer_ms / 1e6)
            pair.transfer_ms.add(adopted.transfer_ms)

    def _first_handoff(self, pair: Pair) -> None:
        """Requests may take this way from here on, also those that have waited for it."""
        if pair.refusal:
            self._state.pairs.accept(pair)
            self._state.do(ReportPair(*pair.names, ""))
        self._state.room_changed(pair.decode)

    def _finished(self, worker: Worker, finished: JobFinished, now_ms: float) -> None:
        flight = worker.jobs.get(finished.stream)
        if flight is None:
            return
        self._ending.stop_job(flight, abort=False)
        flight.found_cached(finished.cached_tokens)
        self._state.worker_succeeded(worker, now_ms)
        if flight.request.embedding is not None:
            self._first_token(flight, now_ms)
        self._ending.finish(flight, finished.reason, now_ms, finished.vector)

    def _released(self, worker: Worker, released: HandoffReleased) -> None:
        ledger = self._state.ledger
        if ledger.release(worker.session, released.handoff_id, expired=released.expired) is not None:
            self._state.room_changed(worker)


def _pass_on(out: TokenColumns, flight: Flight, described: TokenLogprobs, count: int) -> TokenLogprobs:
    """Add the logprobs of the stream's next tokens; returns those of the tokens after them."""
    out.add_logprobs(flight.stream, described.part(0, count))
    return described.part(count, len(described))


def _cut(flight: Flight, piece: "array[int]", over: int) -> "array[int]":
    """Take back what a worker sent beyond max_tokens."""
    del flight.delivered[len(flight.delivered) - over :]
    return piece[: len(piece) - over]
