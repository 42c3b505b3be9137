"""A short generation that the engine gives itself, to see that it still works."""

import asyncio
from typing import ClassVar

from services.common.domain import Job, JobKind, Sampling, StepOutput, TokenColumns
from services.common.domain.tokens import tokens
from services.common.engine.sim.continuation import Vocabulary, expected_tokens
from services.common.errors import EngineUnhealthy


class Probe:
    """One health check in flight. Its stream is never reported to the engine's user."""

    STREAM: ClassVar[int] = 2**32 - 1
    PROMPT: ClassVar = tokens(range(1, 9))
    TOKENS: ClassVar[int] = 4

    def __init__(self, vocabulary: Vocabulary) -> None:
        # Not ignore_eos would let a model of short answers stop early.
        sampling = Sampling(max_tokens=self.TOKENS, ignore_eos=True)
        self.job = Job(self.STREAM, JobKind.LOCAL, "health-check", self.PROMPT, sampling)
        self._expected = expected_tokens(self.PROMPT, self.TOKENS, vocabulary, sampling=sampling)
        self._got = tokens()
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
        if self._got != self._expected:
            raise EngineUnhealthy("the health check got other tokens than it should")

    def take_from(self, news: StepOutput) -> StepOutput:
        """Take the probe's share out of a step's news."""
        news.tokens = self._without_mine(news.tokens)
        for failed in news.failed:
            if failed.stream == self.STREAM:
                self._end(failed.message)
        if any(finished.stream == self.STREAM for finished in news.finished):
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
