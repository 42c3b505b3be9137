"""A sink that keeps an engine's news per stream, and waits for it."""

import asyncio
from array import array
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from services.common.domain import (
    HandoffAdopted,
    HandoffOffered,
    HandoffReleased,
    HandoffTicket,
    Job,
    JobFailed,
    JobFinished,
    JobKind,
    KvChange,
    Role,
    Sampling,
    StepOutput,
    TokenLogprobs,
)
from services.common.domain.tokens import tokens
from services.worker.engine.sim import SimEngine, create

WAIT_S = 20.0


class RecordingSink:
    """Everything that an engine has told."""

    def __init__(self) -> None:
        self.tokens: dict[int, array[int]] = defaultdict(tokens)
        self.described: dict[int, TokenLogprobs] = {}
        self.offered: dict[int, HandoffOffered] = {}
        self.adopted: dict[int, HandoffAdopted] = {}
        self.finished: dict[int, JobFinished] = {}
        self.failed: dict[int, JobFailed] = {}
        self.released: list[HandoffReleased] = []
        self.kv_changes: list[KvChange] = []
        self.steps = 0
        self.streams_per_step: list[int] = []
        self.death = ""
        self._changed = asyncio.Event()

    def on_step(self, output: StepOutput) -> None:
        assert output.has_news()
        assert output.tokens.is_well_formed()
        self.steps += 1
        self.streams_per_step.append(len(output.tokens.streams))
        self.offered |= {n.stream: n for n in output.offered}
        self.adopted |= {n.stream: n for n in output.adopted}
        self._take_tokens(output)
        for end in (*output.finished, *output.failed):
            assert not self.has_ended(end.stream), "two ends"
        self.finished |= {n.stream: n for n in output.finished}
        self.failed |= {n.stream: n for n in output.failed}
        self.released += output.released
        self.kv_changes += output.kv_changes
        self._changed.set()

    def has_ended(self, stream: int) -> bool:
        return stream in self.finished or stream in self.failed

    def _take_tokens(self, output: StepOutput) -> None:
        columns, start = output.tokens, 0
        for stream, count in zip(columns.streams, columns.counts, strict=True):
            assert not self.has_ended(stream), "tokens after the end"
            self.tokens[stream].extend(columns.token_ids[start : start + count])
            start += count
        described = columns.logprobs.by_stream() if columns.logprobs is not None else {}
        for stream, those in described.items():
            self.described.setdefault(stream, TokenLogprobs(those.alternatives)).extend(those)

    def on_engine_dead(self, why: str) -> None:
        self.death = why
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def ended(self, *streams: int) -> None:
        await self.until(lambda: all(map(self.has_ended, streams)))


@asynccontextmanager
async def running(
    role: Role, *engine_args: str, model: str = "sim", adapters: tuple[str, ...] = ()
) -> AsyncIterator[tuple[SimEngine, RecordingSink]]:
    """An engine of the instant profile with small blocks, stopped at the end."""
    defaults = ("profile=instant", "block-size=4", "kv-blocks=256", "max-model-len=512", "max-num-seqs=16")
    engine = create(model, "sim", role, defaults + engine_args, dict.fromkeys(adapters, "nowhere"))
    assert isinstance(engine, SimEngine)
    sink = RecordingSink()
    await engine.start(sink)
    try:
        yield engine, sink
    finally:
        await engine.close()


def job(
    stream: int,
    kind: JobKind = JobKind.LOCAL,
    *,
    prompt_tokens: int = 10,
    prompt: "array[int] | None" = None,
    max_tokens: int = 20,
    sampling: Sampling | None = None,
    delivered: "array[int] | None" = None,
    priority: int = 0,
    lora: str = "",
) -> Job:
    """A job whose prompt is different for each stream, unless given."""
    if prompt is None:
        prompt = tokens(range(stream * 1_000, stream * 1_000 + prompt_tokens))
    rules = sampling or Sampling(max_tokens=max_tokens)
    name, before = f"request-{stream}", delivered or tokens()
    return Job(stream, kind, name, prompt, rules, before, lora=lora, priority=priority)


def adoption_of(offered: HandoffOffered, prefill: Job, stream: int, *, expires_in_ms: int = 10_000) -> Job:
    """The ADOPT job that follows an offer."""
    ticket = HandoffTicket(
        offered.handoff_id, "prefill-1", offered.connector_params, offered.kv_tokens, expires_in_ms
    )
    return Job(
        stream,
        JobKind.ADOPT,
        prefill.request_id,
        prefill.prompt,
        prefill.sampling,
        prefill.delivered + offered.token_ids,
        prefill.cache_salt,
        prefill.lora,
        handoff=ticket,
    )
