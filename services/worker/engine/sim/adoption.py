"""The decode side of a handoff: pulls that are under way, and handoffs that are turned down."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from services.common.clock import Clock
from services.common.domain import HandoffAdopted
from services.worker.engine.sim.offers import kv_content
from services.worker.engine.sim.options import Shape
from services.worker.engine.sim.sequence import Sequence
from services.worker.engine.sim.transfer import HandoffFailed, Peer

DROPS_MAX = 256
"""Handoffs being turned down at once; more are left to the prefill side's lease."""


class Adoptions:
    """All pulls of one engine; as many at once as the engine has slots for sequences."""

    def __init__(
        self,
        shape: Shape,
        kv_block_size_bytes: int,
        clock: Clock,
        *,
        on_adopted: Callable[[Sequence, HandoffAdopted], None],
        on_failed: Callable[[Sequence, str], None],
    ) -> None:
        self._shape = shape
        self._kv_block_size_bytes = kv_block_size_bytes
        self._clock = clock
        self._on_adopted, self._on_failed = on_adopted, on_failed
        self._pulls: dict[Sequence, asyncio.Task[None]] = {}
        self._drops: set[asyncio.Task[None]] = set()
        self._begun = 0

    def begin(self, sequence: Sequence, fail_every: int) -> None:
        """Pull the KV of a sequence that has its blocks; every `fail_every`th pull fails (0: none)."""
        self._begun += 1
        told_to_fail = is_nth(fail_every, self._begun)
        self._pulls[sequence] = _task(self._pull(sequence, told_to_fail), "sim-pull")

    def turn_down(self, sequence: Sequence) -> None:
        """Stop pulling, if that is under way, and let the prefill side free the KV."""
        pull = self._pulls.pop(sequence, None)
        if pull is not None and pull is not asyncio.current_task():
            pull.cancel()
        if sequence.job.handoff is None or len(self._drops) >= DROPS_MAX:
            return
        try:
            peer = Peer.parse(sequence.job.handoff.connector_params)
        except HandoffFailed:
            return  # nobody to tell
        drop = _task(self._drop(peer), "sim-drop")
        self._drops.add(drop)
        drop.add_done_callback(self._drops.discard)

    async def close(self) -> None:
        """Stop everything."""
        owned = [*self._pulls.values(), *self._drops]
        for task in owned:
            task.cancel()
        await asyncio.gather(*owned, return_exceptions=True)

    async def _pull(self, sequence: Sequence, told_to_fail: bool) -> None:
        began_ms = self._clock.now_ms()
        try:
            if told_to_fail:
                raise HandoffFailed("told to fail")
            async with self._timeout():
                size_bytes = await self._transfer(sequence)
        except (HandoffFailed, TimeoutError) as error:
            self._on_failed(sequence, str(error) or "the transfer took too long")
            return
        del self._pulls[sequence]
        handoff_id = sequence.job.handoff.handoff_id if sequence.job.handoff else ""
        transfer_ms = self._clock.now_ms() - began_ms
        self._on_adopted(
            sequence, HandoffAdopted(sequence.stream, handoff_id, size_bytes, transfer_ms, "tcp")
        )

    async def _transfer(self, sequence: Sequence) -> int:
        """Move what is not cached here; returns its bytes."""
        if sequence.job.handoff is None:
            raise HandoffFailed("no ticket")
        peer = Peer.parse(sequence.job.handoff.connector_params)
        size = self._shape.block_size
        kv_text = sequence.text[: sequence.length - 1]
        skip_blocks = sequence.computed // size
        job = sequence.job
        await peer.pull(kv_content(kv_text, job.cache_salt, size, job.lora), skip_blocks)
        return max(-(-len(kv_text) // size) - skip_blocks, 0) * self._kv_block_size_bytes

    async def _drop(self, peer: Peer) -> None:
        try:
            async with self._timeout():
                await peer.drop()
        except TimeoutError:
            return  # the lease settles it

    def _timeout(self) -> asyncio.Timeout:
        return asyncio.timeout(self._shape.handoff_timeout_ms / 1e3)


def is_nth(every: int, number: int) -> bool:
    """Whether a fault that hits every `every`th event (0: none) hits event `number`."""
    return every > 0 and number % every == 0


def _task(work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
    return asyncio.get_running_loop().create_task(work, name=name)
