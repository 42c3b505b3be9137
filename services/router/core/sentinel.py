"""The sentinel: does KV handed over mean the same as KV computed on the spot?

At a low rate it sends a greedy canary through a prefill-decode pair, then the same prompt through the
local path of the same decode worker, and compares token by token. The two runs carry different cache
salts, lest the second read the blocks that the first left behind. Two differing prompts in a row hold
the pair's breaker open: near ties may differ once, a broken handoff differs always. A pair that was held when
one of its workers went stays held when that is back, and is compared again: the worker may have been mended.

A new pair is tried at once, and requests go that way only then: a pair whose KV cannot be handed over at all
(a wrong address, a firewall, builds that do not fit) is refused, with the reason, until a canary comes
through.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from services.common.domain import FinishReason, Path, Receipt, Request, Sampling
from services.common.domain.tokens import tokens
from services.router.core.actions import Announce, ReportPair
from services.router.core.fleet import Worker
from services.router.core.flight import Flight
from services.router.core.pairs import CanaryResult, Pair
from services.router.core.placing import Placing
from services.router.core.state import CANARY_GATEWAY, State

CANARY_TOKENS = 8
PROMPT_BLOCKS = 2.5
TOKEN_IDS = range(10, 250)
"""Ids that every vocabulary has."""
PAIRS_SORTED_MAX = 1_000
TRIALS_MAX = 16
"""Pairs compared at once; in a fleet that has just come up all are new."""
TRIALS_PER_WORKER_MAX = 4


@dataclass(slots=True)
class _Trial:
    """One pair being compared."""

    pair: Pair
    number: int
    handed_over: "list[int] | None" = None


class Sentinel:
    """Tests new pairs at once, some at a time, and then one pair after the other."""

    def __init__(self, state: State, placing: Placing) -> None:
        self._state, self._placing = state, placing
        self._trials: dict[int, _Trial] = {}
        """By the stream of the canary that is under way."""
        self._begun = self._streams = 0
        self._next_ms = 0.0
        self._new: list[Pair] = []
        """Pairs without a canary as yet."""
        self._changes = 0
        """Of the fleet and of what is held against pairs, as of the last look for new pairs."""

    def tick(self, now_ms: float) -> None:
        """Start the trials that are due."""
        interval_ms = self._state.config.canary_interval_ms
        if not interval_ms:
            return
        self._try_new(now_ms)
        if self._trials or now_ms < self._next_ms:
            return
        self._next_ms = now_ms + interval_ms
        pair = self._next_pair(now_ms)
        if pair is not None:
            self._begin(pair, now_ms)

    def settle(self, now_ms: float) -> None:
        """Take in how canaries have ended."""
        while self._state.canaries_ended:
            flight, reason = self._state.canaries_ended.pop(0)
            trial = self._trials.pop(flight.stream, None)
            if trial is not None:
                self._judge(trial, flight, reason, now_ms)

    def _begin(self, pair: Pair, now_ms: float) -> None:
        self._begun += 1
        trial = _Trial(pair, self._begun)
        flight = self._flight(trial, "handed", now_ms)
        self._placing.place_canary(flight, pair.prefill, pair.decode, now_ms)

    def _judge(self, trial: _Trial, flight: Flight, reason: FinishReason, now_ms: float) -> None:
        pair, answer = trial.pair, list(flight.delivered)
        if _is_gone(pair):
            self._conclude(pair, CanaryResult.FAILED, now_ms)
        elif reason is not FinishReason.LENGTH:
            if flight.handoff_failure and not pair.handoffs:
                self._refuse(pair, flight.handoff_failure)
            self._conclude(pair, CanaryResult.FAILED, now_ms)
        elif trial.handed_over is None:
            trial.handed_over = answer
            self._placing.place_canary(self._flight(trial, "local", now_ms), None, pair.decode, now_ms)
        elif trial.handed_over == answer:
            if self._state.pairs.is_on_trial(pair):
                self._state.pairs.acquit(pair)
                self._state.do(Announce(pair.title, is_shut_out=False, why="canaries are equal again"))
            self._conclude(pair, CanaryResult.EQUAL, now_ms)
        elif pair.canary is CanaryResult.DIFFERED_ONCE:
            self._state.canary_mismatches += 1
            self._state.pairs.hold(pair)
            why = "what was handed over gave other tokens than a local prefill, twice"
            self._state.do(Announce(pair.title, is_shut_out=True, why=why))
            self._conclude(pair, CanaryResult.DIFFERED, now_ms)
        else:
            self._conclude(pair, CanaryResult.DIFFERED_ONCE, now_ms)
            pair.canary_at_ms = None
            self._next_ms = now_ms

    def _conclude(self, pair: Pair, result: CanaryResult, now_ms: float) -> None:
        pair.canary, pair.canary_at_ms = result, now_ms
        self._state.room_changed(pair.decode if pair.decode.pool is not None else None)

    def _refuse(self, pair: Pair, why: str) -> None:
        """No request takes this way before a canary has; said once for each reason."""
        if why != pair.refusal:
            self._state.do(ReportPair(*pair.names, why))
        self._state.pairs.refuse(pair, why)

    def _try_new(self, now_ms: float) -> None:
        changes = sum(pool.changes for pool in self._state.fleet.pools.values())
        changes += self._state.pairs.times_forgiven
        if changes != self._changes:
            self._changes = changes
            self._new = [pair for pair in self._all() if not pair.is_tried]
        for pair in [*self._new, *self._refused(now_ms)]:
            if len(self._trials) < TRIALS_MAX and self._may_be_tried(pair, now_ms):
                self._begin(pair, now_ms)
        self._new = [pair for pair in self._new if not pair.is_tried and not _is_gone(pair)]

    def _refused(self, now_ms: float) -> Iterator[Pair]:
        """Those whose next chance has come."""
        since_ms = now_ms - self._state.config.refused_pair_retry_ms
        for pair in self._state.pairs.refused:
            if pair.canary_at_ms is not None and pair.canary_at_ms <= since_ms:
                yield pair

    def _may_be_tried(self, pair: Pair, now_ms: float) -> bool:
        if pair.is_tried and not pair.refusal:
            return False
        for worker in (pair.prefill, pair.decode):
            under_way = sum(worker in (t.pair.prefill, t.pair.decode) for t in self._trials.values())
            if under_way >= TRIALS_PER_WORKER_MAX or not worker.takes_work(now_ms) or not worker.has_room(1):
                return False
        return all(trial.pair is not pair for trial in self._trials.values())

    def _all(self) -> Iterator[Pair]:
        """In rounds, each of which gives every decode worker another prefill worker: so each soon has one
        that may hand over to it, in a large fleet too."""
        for pool in self._state.fleet.pools.values():
            if pool.embedding_model is None:
                serving = [w for w in pool.workers.values() if w.is_serving]
                prefills = [w for w in serving if w.role.can_prefill_for_others()]
                decodes = [w for w in serving if w.role.can_decode()]
                for begin in range(len(prefills)):
                    for number, decode in enumerate(decodes):
                        prefill = prefills[(begin + number) % len(prefills)]
                        if prefill is not decode:
                            yield self._state.pairs.of(prefill, decode)

    def _next_pair(self, now_ms: float) -> Pair | None:
        is_on_trial = self._state.pairs.is_on_trial
        pairs = [p for p in self._candidates(now_ms) if is_on_trial(p) or not p.breaker.is_held]
        return min(pairs, key=lambda p: -1.0 if p.canary_at_ms is None else p.canary_at_ms, default=None)

    def _candidates(self, now_ms: float) -> list[Pair]:
        of, chance, found = self._state.pairs.of, self._state.random, []
        for pool in self._state.fleet.pools.values():
            prefills = [w for w in pool.prefill_workers(now_ms) if w.has_room(1)]
            decodes = [w for w in pool.decode_workers(now_ms) if w.has_room(1)]
            if len(prefills) * len(decodes) > PAIRS_SORTED_MAX:
                prefills, decodes = chance.sample(prefills, 1), chance.sample(decodes, 1)
            found += [of(p, d) for p in prefills for d in decodes if p is not d]
        return found

    def _flight(self, trial: _Trial, run: str, now_ms: float) -> Flight:
        """The canary of one of a trial's two runs."""
        self._streams += 1
        self._trials[self._streams] = trial
        pair, number = trial.pair, trial.number
        request = Request(
            request_id=f"canary-{number}-{run}",
            model=pair.decode.registration.fingerprint.model,
            prompt=self._prompt(pair.decode, number),
            sampling=Sampling(max_tokens=CANARY_TOKENS, temperature=0.0, ignore_eos=True),
            cache_salt=f"canary-{number}-{run}",
            strict_disaggregation=run == "handed",
        )
        pool = self._state.fleet.pools[request.model]
        receipt = Receipt(request.request_id, prompt_tokens=len(request.prompt))
        flight = Flight(CANARY_GATEWAY, self._streams, request, pool, receipt, tokens(), now_ms)
        flight.path = Path.DISAGGREGATED if run == "handed" else Path.LOCAL
        return flight

    def _prompt(self, decode: Worker, number: int) -> "array[int]":
        block_tokens = decode.registration.fingerprint.block_size_tokens
        length = min(
            int(block_tokens * PROMPT_BLOCKS),
            decode.registration.capacity.max_model_len_tokens - CANARY_TOKENS,
        )
        # The same prompt for both runs of a trial, another for each trial.
        first = number * 7_919
        return tokens(TOKEN_IDS[(first + i * i * 31 + i) % len(TOKEN_IDS)] for i in range(max(1, length)))


def _is_gone(pair: Pair) -> bool:
    return pair.prefill.pool is None or pair.decode.pool is None
