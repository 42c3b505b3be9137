"""Admission: take a request in, or refuse it at once with a reason and a time to come back.

Each check is small, pure and named; the first that objects decides. What was admitted once (a request
that is submitted again, or comes with tokens already delivered) passes all but the hard bound.
"""

import math
from random import Random
from typing import Protocol

from services.common.domain import Request, ServiceClass
from services.common.domain.record import record
from services.common.errors import DeadlineUnmeetable, KvMemoryFull, MeshError, QueueFull, Shed
from services.router.core.config import CoreConfig
from services.router.core.fleet import Pool
from services.router.core.queues import WaitQueue


@record
class Ask:
    """A request at the door."""

    request: Request
    pool: Pool
    queue: WaitQueue
    """The queue that it would wait in."""
    now_ms: float

    @property
    def text_tokens(self) -> int:
        """Length of its text."""
        return len(self.request.prompt) + len(self.request.delivered)


class Check(Protocol):
    """One reason to refuse."""

    name: str

    def refusal(self, ask: Ask) -> MeshError | None:
        """The refusal; `None` where there is no objection."""


class QueueBound:
    """The queue is at its bound of requests or tokens."""

    name = "queue_bound"

    def refusal(self, ask: Ask) -> MeshError | None:
        """QueueFull."""
        if ask.queue.has_room_for(ask.text_tokens):
            return None
        retry_after_ms = ask.pool.placements.retry_after_ms(len(ask.queue), ask.now_ms)
        return QueueFull(
            f"{len(ask.queue)} requests wait for {ask.pool.model}", retry_after_ms=retry_after_ms
        )


class ProjectedMemory:
    """KV room will not come in time, counting all that is accepted to its expected end.

    excess = blocks taken + blocks that the queues will take + own blocks - blocks of all decode workers;
    the wait is excess / rate at which blocks are freed, as measured.
    """

    name = "projected_memory"

    def __init__(self, config: CoreConfig) -> None:
        self._wait_ms_max = config.limits.queue_wait_ms_max
        self._unmeasured_factor = config.unmeasured_overcommit

    def refusal(self, ask: Ask) -> MeshError | None:
        """KvMemoryFull."""
        pool = ask.pool
        excess = self._demand_blocks(ask) - pool.decode_blocks
        if pool.decode_blocks == 0 or excess <= 0:
            return None
        rate = pool.freed_blocks.per_ms(ask.now_ms)
        if pool.freed_blocks.is_measured(ask.now_ms):
            wait_ms = excess / rate
            message = f"KV room would come in {wait_ms:.0f} ms, {self._wait_ms_max} ms are allowed"
        else:
            wait_ms = math.inf if excess > self._unmeasured_factor * pool.decode_blocks else 0.0
            message = f"{excess} KV blocks more are asked for than the {pool.decode_blocks} there are"
        if wait_ms <= self._wait_ms_max:
            return None
        retry_after_ms = pool.freed_blocks.retry_after_ms(excess, ask.now_ms)
        return KvMemoryFull(message, retry_after_ms=retry_after_ms)

    def _demand_blocks(self, ask: Ask) -> int:
        pool, prefill, decode = ask.pool, ask.pool.prefill_queue, ask.pool.decode_queue
        waiting = prefill.tokens + prefill.growth_tokens + decode.tokens + decode.growth_tokens
        own = ask.text_tokens + min(ask.request.sampling.max_tokens, pool.expected_output.tokens)
        return pool.decode_blocks_taken + (waiting + own) // max(1, pool.block_size_tokens)


class DeadlineFeasible:
    """The deadline passes before the queue has drained this far and the prompt has run."""

    name = "deadline_feasible"

    def refusal(self, ask: Ask) -> MeshError | None:
        """DeadlineUnmeetable."""
        deadline_ms, placements = ask.request.deadline_ms, ask.pool.placements
        if deadline_ms is None or not len(ask.queue) or not placements.is_measured(ask.now_ms):
            return None
        wait_ms = (len(ask.queue) + 1) / placements.per_ms(ask.now_ms)
        if wait_ms + ask.pool.first_token_ms.value <= deadline_ms:
            return None
        retry_after_ms = placements.retry_after_ms(len(ask.queue), ask.now_ms)
        return DeadlineUnmeetable(
            f"about {wait_ms:.0f} ms of waiting, {deadline_ms} ms left", retry_after_ms=retry_after_ms
        )


SHEDDING_STARTS_AT = {
    ServiceClass.BATCH: 0.80,
    ServiceClass.STANDARD: 0.87,
    ServiceClass.INTERACTIVE: 0.94,
}
"""Fill of the queue at which a class begins to be refused."""


class Shedding:
    """Refuses at random near the bound, the lowest class first, so that the queue never slams shut."""

    name = "shedding"

    def __init__(self, random: Random) -> None:
        self._random = random

    def refusal(self, ask: Ask) -> MeshError | None:
        """Shed, with a probability that grows from 0 at the class's start to 1 at the bound."""
        fill = max(len(ask.queue) / ask.queue.requests_max, ask.queue.tokens / ask.queue.tokens_max)
        start = SHEDDING_STARTS_AT[ask.request.service_class]
        if fill <= start or self._random.random() >= (fill - start) / (1.0 - start):
            return None
        retry_after_ms = ask.pool.placements.retry_after_ms(len(ask.queue), ask.now_ms)
        return Shed(f"the queue is {fill:.0%} full", retry_after_ms=retry_after_ms)


class Admission:
    """The checks in force, in order."""

    def __init__(self, config: CoreConfig, random: Random) -> None:
        self._bound = QueueBound()
        self._checks: tuple[Check, ...] = (ProjectedMemory(config), DeadlineFeasible(), Shedding(random))

    def refusal(self, ask: Ask) -> MeshError | None:
        """The first objection; `None` admits."""
        bound = self._bound.refusal(ask)
        if bound is not None or ask.request.resubmitted or len(ask.request.delivered):
            return bound
        for check in self._checks:
            if (objection := check.refusal(ask)) is not None:
                return objection
        return None
