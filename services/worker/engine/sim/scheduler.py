"""Which sequences run in the next step, and what the step yields. Pure: no clock, no I/O."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from services.common.domain import FinishReason, JobFinished, StepOutput, TokenColumns
from services.worker.engine.sim.blocks import BlockPool
from services.worker.engine.sim.sequence import Phase, Sequence


@dataclass(slots=True)
class StepPlan:
    """One step's work."""

    chunks: list[tuple[Sequence, int]] = field(default_factory=list)
    """Prompts to run on, and by how many tokens."""
    decoding: list[Sequence] = field(default_factory=list)
    """Sequences that get one token each."""
    pulls: list[Sequence] = field(default_factory=list)
    """ADOPT jobs that have their blocks now and shall pull; they take no part in the step."""

    @property
    def has_compute(self) -> bool:
        """Whether there is anything to run."""
        return bool(self.chunks or self.decoding)

    @property
    def prefill_tokens(self) -> int:
        """Prompt tokens in the step."""
        return sum(size for _, size in self.chunks)


class Scheduler:
    """Continuous batching with chunked prefill: decoding first, then prompts in progress, then new ones."""

    def __init__(
        self, pool: BlockPool, *, running_max: int, batched_tokens_max: int, chunked: bool = True
    ) -> None:
        self._pool = pool
        self._running_max = running_max
        self._batched_tokens_max = batched_tokens_max
        self._chunked = chunked
        self._arrivals = count()
        self._waiting: list[tuple[int, int, Sequence]] = []
        self._pulling: dict[Sequence, None] = {}
        self._prefilling: dict[Sequence, None] = {}
        self._decoding: dict[Sequence, None] = {}

    @property
    def waiting(self) -> int:
        """Sequences without blocks, and those whose KV is on its way."""
        return len(self._waiting) + len(self._pulling)

    @property
    def running(self) -> int:
        """Sequences that take part in steps."""
        return len(self._prefilling) + len(self._decoding)

    @property
    def queued_prefill_tokens(self) -> int:
        """Tokens to prefill before everything that is here runs."""
        waiting = sum(s.uncomputed_tokens for _, _, s in self._waiting if not s.must_pull)
        return waiting + sum(s.uncomputed_tokens for s in self._prefilling)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence behind those of its priority."""
        self._enqueue(sequence, next(self._arrivals))

    def remove(self, sequence: Sequence) -> None:
        """End a sequence wherever it is and free what it holds. Idempotent."""
        if sequence.phase is Phase.WAITING:
            self._waiting = [entry for entry in self._waiting if entry[2] is not sequence]
            heapq.heapify(self._waiting)
        for place in (self._pulling, self._prefilling, self._decoding):
            place.pop(sequence, None)
        sequence.phase = Phase.ENDED
        self._pool.free(sequence.holding)

    def late_adoptions(self, now_ms: float) -> list[Sequence]:
        """Waiting ADOPT jobs whose time to begin the pull is over."""
        return [s for _, _, s in self._waiting if s.must_pull and s.adopt_deadline_ms <= now_ms]

    def adopted(self, sequence: Sequence) -> None:
        """The KV of a pulling sequence has arrived: it decodes from the next step on."""
        del self._pulling[sequence]
        sequence.must_pull = False
        sequence.computed = sequence.length - 1
        self._pool.publish(sequence.holding, sequence.text, sequence.computed)
        self._start_decoding(sequence)

    def plan(self) -> StepPlan:
        """The next step."""
        plan = StepPlan(decoding=list(self._decoding))
        budget = self._batched_tokens_max - len(plan.decoding)
        for sequence in self._prefilling:
            budget -= self._plan_chunk(plan, sequence, budget)
        while self._waiting and self._has_slot() and budget > 0:
            sequence = self._waiting[0][2]
            if not self._fits_budget(sequence, budget) or not self._admit(sequence):
                break
            heapq.heappop(self._waiting)
            if sequence.phase is Phase.PULLING:
                plan.pulls.append(sequence)
            else:
                budget -= self._plan_chunk(plan, sequence, budget)
        return plan

    def commit(self, plan: StepPlan, output: StepOutput) -> list[Sequence]:
        """Record a step that has run: tokens and ends go to `output`; returns what is prefilled.

        The caller gives each of those to `first_token` or takes it over for a handoff.
        """
        self._commit_decoding(plan.decoding, output)
        return list(self._commit_chunks(plan.chunks))

    def first_token(self, sequence: Sequence, output: StepOutput) -> None:
        """Sample a prefilled sequence's next token and let it decode on."""
        self._start_decoding(sequence)
        self._commit_decoding([sequence], output)

    def detach(self, sequence: Sequence) -> None:
        """Let go of a prefilled sequence whose blocks have another owner by now."""
        self._prefilling.pop(sequence, None)
        sequence.phase = Phase.ENDED

    def _has_slot(self) -> bool:
        return self.running + len(self._pulling) < self._running_max

    def _fits_budget(self, sequence: Sequence, budget: int) -> bool:
        if self._chunked or sequence.must_pull:
            return True
        return sequence.uncomputed_tokens <= budget or budget == self._batched_tokens_max

    def _plan_chunk(self, plan: StepPlan, sequence: Sequence, budget: int) -> int:
        size = sequence.uncomputed_tokens if not self._chunked else min(sequence.uncomputed_tokens, budget)
        if size > 0:
            plan.chunks.append((sequence, size))
        return max(size, 0)

    def _admit(self, sequence: Sequence) -> bool:
        """Give a waiting sequence its blocks; False when there is no room."""
        text, length = sequence.text, sequence.length
        # The last token is always computed, because its output is what the next token is sampled from.
        job = sequence.job
        holding = self._pool.acquire(text, length, job.cache_salt, length - 1, job.lora)
        if holding is None:
            return False
        sequence.holding = holding
        sequence.computed = len(holding.shared) * self._pool.block_size_tokens
        if sequence.is_untouched and not sequence.must_pull:
            sequence.cached_tokens = sequence.computed
        sequence.phase = Phase.PULLING if sequence.must_pull else Phase.PREFILLING
        (self._pulling if sequence.must_pull else self._prefilling)[sequence] = None
        return True

    def _commit_chunks(self, chunks: list[tuple[Sequence, int]]) -> Iterator[Sequence]:
        for sequence, size in chunks:
            if sequence.phase is not Phase.PREFILLING:
                continue  # aborted while the step ran
            sequence.computed += size
            self._pool.publish(sequence.holding, sequence.text, sequence.computed)
            if sequence.computed == sequence.length:
                yield sequence

    def _commit_decoding(self, sequences: list[Sequence], output: StepOutput) -> None:
        """One token for each sequence. This loop is all that a token costs."""
        streams, ids, at_run_end = [], [], []
        columns = output.tokens
        for sequence in sequences:
            if sequence.phase is not Phase.DECODING:
                continue  # aborted or preempted while the step ran
            position = sequence.length
            streams.append(sequence.job.stream)
            ids.append(sequence.text[position])
            sequence.length = position + 1
            if sequence.describe is not None:
                columns.add_logprobs(sequence.stream, sequence.describe(ids[-1:]))
            if position + 1 == sequence.run_end:
                at_run_end.append(sequence)
        _append_ones(columns, streams, ids)
        # Ends first: they free blocks, and a sequence that has ended must not be preempted.
        for sequence in at_run_end:
            if sequence.run_finish is not None:
                self._finish(sequence, sequence.run_finish, output)
        for sequence in at_run_end:
            self._start_next_run(sequence)

    def _start_decoding(self, sequence: Sequence) -> None:
        self._prefilling.pop(sequence, None)
        sequence.phase = Phase.DECODING
        self._decoding[sequence] = None
        sequence.extend_run(self._room(sequence))

    def _start_next_run(self, sequence: Sequence) -> None:
        if sequence.phase is not Phase.DECODING:
            return
        self._pool.publish(sequence.holding, sequence.text, sequence.length - 1)
        while sequence.phase is Phase.DECODING and self._room(sequence) <= 0:
            if not self._pool.grow(sequence.holding):
                self._preempt(next(reversed(self._decoding)))
        if sequence.phase is Phase.DECODING:
            sequence.extend_run(self._room(sequence))

    def _room(self, sequence: Sequence) -> int:
        """Tokens that can be generated in the blocks held; the newest token's own KV comes a step later."""
        return sequence.holding.blocks * self._pool.block_size_tokens - sequence.length + 1

    def _finish(self, sequence: Sequence, reason: FinishReason, output: StepOutput) -> None:
        self.remove(sequence)
        output.finished.append(JobFinished(sequence.stream, reason, sequence.cached_tokens))

    def _preempt(self, victim: Sequence) -> None:
        """Take the youngest decoding sequence's blocks; it is prefilled again, before all that wait."""
        del self._decoding[victim]
        self._pool.free(victim.holding)
        victim.drop_run()
        victim.computed = 0
        victim.phase = Phase.WAITING
        self._enqueue(victim, -next(self._arrivals))

    def _enqueue(self, sequence: Sequence, rank: int) -> None:
        heapq.heappush(self._waiting, (sequence.job.priority, rank, sequence))


def _append_ones(columns: TokenColumns, streams: list[int], ids: list[int]) -> None:
    columns.streams.extend(streams)
    columns.counts.extend([1] * len(streams))
    columns.token_ids.extend(ids)
