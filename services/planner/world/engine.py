"""A virtual engine: continuous batching with chunked prefill, as the sim engine does it, by counts alone.

A test runs both side by side and compares every step. Steps in which nothing but decoding happens are taken
many at once, up to the next one that changes the batch; who comes meanwhile joins at the end of the step
that is then under way, as it would have.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from services.planner.world.decode_batch import DecodeBatch
from services.planner.world.kv_cache import KvCache
from services.planner.world.meter import EngineMeter
from services.planner.world.sequence import Phase, Sequence
from services.planner.world.speculation import Speculation
from services.planner.world.timeline import Timeline
from services.worker.engine.sim.step_times import StepTimes

STEPS_AT_ONCE_MAX = 64
"""Steps that are taken at once are equally long; over so many, the contexts hardly grow."""


@dataclass(slots=True)
class StepNews:
    """What a step has brought."""

    prefilled: list[Sequence] = field(default_factory=list)
    """Their prompts have run; they are not in the batch."""
    ended: list[Sequence] = field(default_factory=list)
    """They have all their tokens; they hold nothing any more."""


@dataclass(slots=True)
class _Run:
    """Steps under way."""

    began_ms: float
    step_ms: float
    steps: int
    chunks: list[tuple[Sequence, int]]


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """The engine's own bounds; where vLLM has the same knob, it means the same."""

    kv_blocks: int
    block_size_tokens: int = 16
    running_max: int = 256
    batched_tokens_max: int = 8_192
    speculation: Speculation | None = None


class VirtualEngine:
    """Sequences in, news out. `on_news` takes each step's; `on_pull` is told whose KV may come."""

    def __init__(
        self,
        timeline: Timeline,
        times: StepTimes,
        limits: EngineLimits,
        *,
        on_news: Callable[[StepNews], None],
        on_pull: Callable[[Sequence], None],
    ) -> None:
        self.times, self.limits = times, limits
        self.kv = KvCache(limits.kv_blocks, limits.block_size_tokens)
        self.batch = DecodeBatch(limits.block_size_tokens)
        self.meter = EngineMeter()
        self.is_dead = False
        self._timeline = timeline
        self._on_news, self._on_pull = on_news, on_pull
        self._arrivals = count()
        self._waiting: list[tuple[int, int, Sequence]] = []
        self._pulling = 0
        self._joining: dict[Sequence, None] = {}
        self._prefilling: dict[Sequence, None] = {}
        self._run: _Run | None = None
        self._is_telling = False

    @property
    def running(self) -> int:
        """Sequences that take part in steps."""
        return len(self._prefilling) + len(self._joining) + len(self.batch)

    @property
    def waiting(self) -> int:
        """Sequences without blocks, and those whose KV is on its way."""
        return len(self._waiting) + self._pulling

    @property
    def queued_prefill_tokens(self) -> int:
        """Tokens to prefill before everything that is here runs."""
        waiting = sum(s.uncomputed_tokens for _, _, s in self._waiting if not s.must_pull)
        return waiting + sum(s.uncomputed_tokens for s in self._prefilling)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence behind those of its priority."""
        self._enqueue(sequence, next(self._arrivals))
        self._wake()

    def remove(self, sequence: Sequence) -> None:
        """End a sequence wherever it is, and free what it holds. Idempotent."""
        if sequence.phase is Phase.DECODING:
            self._cut_run()
            self.batch.remove(sequence)
        elif sequence.phase is Phase.WAITING:
            self._waiting = [entry for entry in self._waiting if entry[2] is not sequence]
            heapq.heapify(self._waiting)
        elif sequence.phase is Phase.PREFILLING:
            del self._prefilling[sequence]
        elif sequence.phase is Phase.PULLING:
            self._pulling -= 1
        elif sequence.phase is Phase.JOINING:
            del self._joining[sequence]
        sequence.phase = Phase.ENDED
        self.kv.release(sequence.holding)
        self._wake()

    def pulled(self, sequence: Sequence) -> None:
        """A sequence's KV has arrived: it decodes from the next step on."""
        if sequence.phase is not Phase.PULLING:
            return
        self._pulling -= 1
        sequence.must_pull = False
        self.kv.publish(sequence.holding, sequence.pieces)
        sequence.phase = Phase.JOINING
        self._joining[sequence] = None
        self._cut_run()
        self._wake()

    def freed(self) -> None:
        """Blocks came back from outside, such as an offer's."""
        self._wake()

    def first_token(self, sequence: Sequence) -> None:
        """Give a prefilled sequence its next token, and let it decode on."""
        sequence.generated += 1
        sequence.length += 1
        if sequence.length > self.limits.block_size_tokens * self._blocks(sequence) and not self._grow(
            sequence
        ):
            self._requeue(sequence)
        else:
            self.batch.add(sequence)

    def die(self) -> None:
        """Stop for good; the batch keeps the tokens of whole steps."""
        self._cut_run()
        self.is_dead, self._run = True, None

    def sync(self) -> None:
        """Count the steps that are over by now, of those taken at once."""
        self._cut_run()

    def _blocks(self, sequence: Sequence) -> int:
        pieces = len(sequence.holding.pieces) * self.kv.piece_tokens // self.limits.block_size_tokens
        return pieces + sequence.holding.private

    def _enqueue(self, sequence: Sequence, rank: int) -> None:
        heapq.heappush(self._waiting, (sequence.job.priority, rank, sequence))

    def _requeue(self, sequence: Sequence) -> None:
        """It lost its blocks: it is prefilled again, before all that wait."""
        self.kv.release(sequence.holding)
        sequence.computed, sequence.phase = 0, Phase.WAITING
        self.meter.preemptions += 1
        self._enqueue(sequence, -next(self._arrivals))

    def _wake(self) -> None:
        """Something may have become possible: begin a step, or end those under way early."""
        if self.is_dead or self._is_telling:
            return
        if self._run is None:
            self._begin()
        elif self._run.steps > 1 and self._waiting and self._could_admit():
            self._cut_run()

    def _could_admit(self) -> bool:
        if self.running + self._pulling >= self.limits.running_max:
            return False
        head = self._waiting[0][2]
        return -(-head.length // self.limits.block_size_tokens) <= self.kv.available

    def _begin(self) -> None:
        """Plan the next step, and take as many like it as nothing interrupts."""
        for sequence in self._joining:
            self.batch.add(sequence)
        self._joining.clear()
        chunks = self._plan()
        decoding = len(self.batch)
        if not chunks and not decoding:
            return
        steps = 1 if chunks else self._steps_alike()
        pairs = [(size, sequence.computed) for sequence, size in chunks]
        context = self.batch.context_tokens + decoding * (steps - 1) // 2
        step_ms = self._step_ms(pairs, decoding, context)
        run = self._run = _Run(self._timeline.now_ms, step_ms, steps, chunks)
        self._timeline.at(step_ms * steps, lambda: self._end(run, steps))

    def _step_ms(self, chunks: list[tuple[int, int]], decoding: int, context: int) -> float:
        """Steps give each sequence one token here; with speculation, steps without prompts take the less time
        for it.
        """
        speculation = self.limits.speculation
        if speculation is None or not decoding:
            return self.times.step_ms(chunks, decoding, context)
        whole_ms = self.times.step_ms(chunks, decoding, context, speculation.drafts)
        return whole_ms / (1.0 if chunks else speculation.tokens_per_step)

    def _plan(self) -> list[tuple[Sequence, int]]:
        chunks: list[tuple[Sequence, int]] = []
        budget = self.limits.batched_tokens_max - len(self.batch)
        for sequence in self._prefilling:
            budget -= self._chunk(chunks, sequence, budget)
        while self._waiting and budget > 0 and self.running + self._pulling < self.limits.running_max:
            sequence = self._waiting[0][2]
            if not self._admit(sequence):
                break
            heapq.heappop(self._waiting)
            if sequence.must_pull:
                self._pulling += 1
                sequence.phase = Phase.PULLING
                self._on_pull(sequence)
            else:
                self._prefilling[sequence] = None
                sequence.phase = Phase.PREFILLING
                budget -= self._chunk(chunks, sequence, budget)
        return chunks

    @staticmethod
    def _chunk(chunks: list[tuple[Sequence, int]], sequence: Sequence, budget: int) -> int:
        size = min(sequence.uncomputed_tokens, budget)
        if size <= 0:
            return 0
        chunks.append((sequence, size))
        return size

    def _admit(self, sequence: Sequence) -> bool:
        holding = self.kv.acquire(sequence.length, sequence.pieces)
        if holding is None:
            return False
        sequence.holding = holding
        # The last token is always computed, because its output is what the next token is sampled from.
        cached = min(len(holding.pieces) * self.kv.piece_tokens, sequence.length - 1)
        sequence.computed = sequence.cached_tokens = cached
        return True

    def _steps_alike(self) -> int:
        """Steps until a sequence ends or a block lacks."""
        steps = max(1, min(self.batch.steps_to_end(), STEPS_AT_ONCE_MAX))
        available = self.kv.available
        while steps > 1 and self.batch.growth(steps - 1) > available:
            steps //= 2
        return steps

    def _cut_run(self) -> None:
        """Of steps under way at once, count those that are over and leave the one that is not."""
        run = self._run
        if run is None or run.steps == 1:
            return
        over = min(int((self._timeline.now_ms - run.began_ms) / run.step_ms), run.steps - 1)
        if over > 0:
            self._advance(over, run)
            run.began_ms += over * run.step_ms
        run.steps = 1
        rest_ms = max(0.0, run.began_ms + run.step_ms - self._timeline.now_ms)
        self._timeline.at(rest_ms, lambda: self._end(run, 1))

    def _end(self, run: _Run, steps: int) -> None:
        if self._run is not run or run.steps != steps:
            return  # ended early, or dead
        self._run = None
        news = StepNews()
        decoding = len(self.batch)
        if decoding:
            if steps > 1:
                self._advance(steps - 1, run)
            self._last_step(run, news)
        self.meter.steps(1, run.step_ms, decoding, self.kv.held)
        self._commit(run.chunks, news)
        if news.prefilled or news.ended:
            self._is_telling = True  # the next step is planned once all of this one is settled
            self._on_news(news)
            self._is_telling = False
        self._begin()

    def _advance(self, steps: int, run: _Run) -> None:
        """Steps in which nobody ends and no block lacks."""
        self.kv.grow(self.batch.growth(steps))
        self.batch.steps += steps
        self.meter.steps(steps, run.step_ms, len(self.batch), self.kv.held)

    def _last_step(self, run: _Run, news: StepNews) -> None:
        """Ends first: they free blocks, and a sequence that has ended must not be preempted."""
        grows = self.batch.growth(1)
        self.batch.steps += 1
        for sequence in self.batch.ended():
            grows -= (self.batch.length(sequence) - 1) % self.limits.block_size_tokens == 0
            self.batch.remove(sequence)
            self._free_grown(sequence)
            sequence.phase = Phase.ENDED
            news.ended.append(sequence)
        while grows > self.kv.available and len(self.batch):
            grows -= self._preempt_youngest()
        self.kv.grow(min(grows, self.kv.available))

    def _preempt_youngest(self) -> int:
        """Returns whether it was one of those that need a block."""
        victim = self.batch.youngest()
        needs = (self.batch.length(victim) - 1) % self.limits.block_size_tokens == 0
        self.batch.remove(victim)
        self._count_grown(victim, victim.length - 1 if needs else victim.length)
        self._requeue(victim)
        return int(needs)

    def _free_grown(self, sequence: Sequence) -> None:
        """Release a sequence whose last token never got a block."""
        self._count_grown(sequence, sequence.length - 1)
        self.kv.release(sequence.holding)

    def _count_grown(self, sequence: Sequence, tokens: int) -> None:
        """Blocks were grown for the batch as a whole; book a member's own share to it as it leaves."""
        pieces = len(sequence.holding.pieces) * self.kv.piece_tokens // self.limits.block_size_tokens
        sequence.holding.private = max(
            sequence.holding.private, -(-tokens // self.limits.block_size_tokens) - pieces
        )

    def _grow(self, sequence: Sequence) -> bool:
        if self.kv.available < 1:
            return False
        self.kv.grow(1)
        sequence.holding.private += 1
        return True

    def _commit(self, chunks: list[tuple[Sequence, int]], news: StepNews) -> None:
        for sequence, size in chunks:
            if sequence.phase is not Phase.PREFILLING:
                continue  # aborted while the step ran
            sequence.computed += size
            if sequence.computed >= sequence.length:
                del self._prefilling[sequence]
                sequence.phase = Phase.PREFILLED
                self.kv.publish(sequence.holding, sequence.pieces)
                news.prefilled.append(sequence)
