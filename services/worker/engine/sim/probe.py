"""A short job that the engine gives itself, to see that it still works."""

import asyncio
from typing import ClassVar

from services.common.domain import (
    EmbeddingAsk,
    EmbeddingModel,
    Job,
    JobKind,
    Sampling,
    StepOutput,
    TokenColumns,
)
from services.common.domain.embedding import vector
from services.common.domain.tokens import tokens
from services.common.errors import EngineUnhealthy
from services.worker.engine.sim.continuation import Vocabulary, expected_tokens
from services.worker.engine.sim.embedding import expected_vector


class Probe:
    """One health check in flight. Its stream is never reported to the engine's user."""

    STREAM: ClassVar[int] = 2**32 - 1
    PROMPT: ClassVar = tokens(range(1, 9))
    TOKENS: ClassVar[int] = 4

    def __init__(self, vocabulary: Vocabulary, model: EmbeddingModel | None = None) -> None:
        """A generation, or with an embedding `model` a vector."""
        # Not ignore_eos would let a model of short answers stop early.
        sampling = Sampling(max_tokens=self.TOKENS, ignore_eos=True)
        self._expected, self._got = tokens(), tokens()
        self._expected_vector, self._got_vector = vector(), vector()
        if model is None:
            kind, ask = JobKind.LOCAL, None
            self._expected = expected_tokens(self.PROMPT, self.TOKENS, vocabulary, sampling=sampling)
        else:
            kind, ask = JobKind.EMBED, EmbeddingAsk()
            self._expected_vector = expected_vector(self.PROMPT, model)
        self.job = Job(self.STREAM, kind, "health-check", self.PROMPT, sampling, embedding=ask)
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def result(self, timeout_s: float) -> None:
        """Wait for the end; raises EngineUnhealthy when it fails, differs or takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                failure = await self._ended
        except TimeoutError as error:
            raise EngineUnhealthy(f"no answer to a health check in {timeout_s:g} s") from error
        if failure:
            raise EngineUnhealthy(f"the health check failed: {failure}")
        if (self._got, self._got_vector) != (self._expected, self._expected_vector):
            raise EngineUnhealthy("the health check got another answer than it should")

    def take_from(self, news: StepOutput) -> StepOutput:
        """Take the probe's share out of a step's news."""
        news.tokens = self._without_mine(news.tokens)
        for failed in news.failed:
            if failed.stream == self.STREAM:
                self._end(failed.message)
        for finished in news.finished:
            if finished.stream == self.STREAM:
                self._got_vector = finished.vector or vector()
                self._end("")
        news.failed = [n for n in news.failed if n.stream != self.STREAM]
        news.finished = [n for n in news.finished if n.stream != self.STREAM]
        return news

    def _without_mine(self, columns: TokenColumns) -> TokenColumns:
        rest, start = TokenColumns(logprobs=columns.logprobs), 0
        for stream, count in zip(columns.streams, columns.counts, strict=True):
            ids = columns.token_ids[start : start + count]
            start += count
            if stream == self.STREAM:
                self._got.extend(ids)
            else:
                rest.add(stream, ids)
        return rest

    def _end(self, failure: str) -> None:
        if not self._ended.done():
            self._ended.set_result(failure)
