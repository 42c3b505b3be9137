"""An engine under test with a sink that remembers, and the handoff as a router would carry it."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from services.common.domain import (
    HandoffOffered,
    HandoffTicket,
    Job,
    JobFailed,
    JobFinished,
    JobKind,
    Sampling,
    StepOutput,
    TokenLogprobs,
)
from services.common.domain.tokens import tokens
from services.worker.engine.vllm.engine import VllmEngine

T = TypeVar("T")
PATIENCE_S = 30.0


@dataclass
class Recorder:
    """Keeps all that an engine reports, sorted by stream."""

    steps: list[StepOutput] = field(default_factory=list)
    tokens: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    described: dict[int, TokenLogprobs] = field(default_factory=dict)
    deaths: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def on_step(self, output: StepOutput) -> None:
        assert output.tokens.is_well_formed()
        self.steps.append(output)
        ids = iter(output.tokens.token_ids)
        for stream, count in zip(output.tokens.streams, output.tokens.counts, strict=True):
            self.tokens[stream].extend(itertools.islice(ids, count))
        told = output.tokens.logprobs.by_stream() if output.tokens.logprobs is not None else {}
        for stream, those in told.items():
            self.described.setdefault(stream, TokenLogprobs(those.alternatives)).extend(those)
        self._news.set()

    def on_engine_dead(self, why: str) -> None:
        self.deaths.append(why)
        self._news.set()

    def every(self, part: str) -> list[object]:
        """All entries of one part of all steps."""
        return [entry for step in self.steps for entry in getattr(step, part)]

    async def until(self, found: Callable[[], T | None]) -> T:
        """Wait until `found` returns something true."""
        async with asyncio.timeout(PATIENCE_S):
            while not (result := found()):
                self._news.clear()
                await self._news.wait()
        return result


@dataclass
class Bench:
    """One engine, its recorder, and stream numbers that are never reused."""

    engine: VllmEngine
    sink: Recorder
    _streams: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def submit(self, kind: JobKind, prompt: list[int], sampling: Sampling, **more: object) -> int:
        """Submit a job; returns its stream."""
        stream = next(self._streams)
        self.engine.submit(Job(stream, kind, f"test-{stream}", tokens(prompt), sampling, **more))  # type: ignore[arg-type]
        return stream

    def of(self, part: str, stream: int) -> object | None:
        """The entry of one part that names the stream."""
        return next((e for e in self.sink.every(part) if e.stream == stream), None)  # type: ignore[attr-defined]

    async def ended(self, stream: int) -> JobFinished | JobFailed:
        """The stream's end."""
        end = await self.sink.until(lambda: self.of("finished", stream) or self.of("failed", stream))
        assert isinstance(end, JobFinished | JobFailed)
        return end

    async def offered(self, stream: int) -> HandoffOffered:
        """The stream's offer; fails the test if the job ends otherwise."""
        offer = await self.sink.until(lambda: self.of("offered", stream) or self.of("failed", stream))
        assert isinstance(offer, HandoffOffered), offer
        return offer

    async def released(self, handoff_id: str) -> object:
        """The handoff's release."""
        return await self.sink.until(
            lambda: next((r for r in self.sink.every("released") if r.handoff_id == handoff_id), None)  # type: ignore[attr-defined]
        )

    async def idle(self) -> None:
        """Wait until all KV blocks are free."""
        async with asyncio.timeout(PATIENCE_S):
            while self.engine.load().kv_blocks_free != self.engine.load().kv_blocks_total:
                await asyncio.sleep(0.02)


def ticket(offer: HandoffOffered, expires_in_ms: int = 20_000) -> HandoffTicket:
    """The ticket that a router makes of an offer."""
    return HandoffTicket(offer.handoff_id, "prefill", offer.connector_params, offer.kv_tokens, expires_in_ms)
