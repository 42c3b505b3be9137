"""The retrieval hook of the pipeline."""

import asyncio
import dataclasses
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from services.common.clock import Clock
from services.common.credentials import Security
from services.common.errors import RetrievalFailed
from services.common.retrieval import RetrievalSettings
from services.gateway.call.call import Call
from services.gateway.call.parts import WithoutRetrieval
from services.gateway.models.rendering import Renderer
from services.gateway.retrieval.ask import RetrievalAsk
from services.gateway.retrieval.client import LookUpFailed, RetrieverClient
from services.gateway.retrieval.metrics import Metrics
from services.gateway.retrieval.prompt import query_of, with_passages
from services.gateway.retrieval.report import Passage, RetrievalReport
from services.gateway.retrieval.suspensions import Collection, Suspensions

RETRY_AFTER_MS = 1_000

_log = logging.getLogger(__name__)


class Retrieval:
    """Puts passages into prompts (the pipeline's `Retriever`).

    When they cannot be had in time the prompt goes on without them, and the answer says so; a request that
    requires them fails.
    """

    def __init__(
        self,
        client: RetrieverClient,
        settings: RetrievalSettings,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._suspensions = Suspensions(clock)

    def augment(self, call: Call, renderer: Renderer) -> Coroutine[Any, Any, Call] | None:
        """The call with passages in its prompts; `None` for one that does not ask. Raises `InvalidField`."""
        ask = call.generation.retrieval
        if ask is None:
            return None
        queries = [ask.query or query_of(prompt) for prompt in call.generation.prompts]
        return self._augment(call, ask, queries[0], renderer)

    async def close(self) -> None:
        """Hang up."""
        await self._client.close()

    async def _augment(self, call: Call, ask: RetrievalAsk, query: str, renderer: Renderer) -> Call:
        """One look-up serves all prompts of a call; raises `RetrievalFailed`."""
        report = await self._look_up(call.caller.tenant, ask, query, renderer)
        call.notes["retrieval"] = report.as_json()
        if report.has_failed and ask.is_required:
            raise RetrievalFailed(
                f"passages could not be looked up: {report.status}", retry_after_ms=RETRY_AFTER_MS
            )
        if not report.passages:
            return dataclasses.replace(call, retrieval=report)
        prompts = tuple(with_passages(prompt, report.passages) for prompt in call.generation.prompts)
        return dataclasses.replace(
            call, retrieval=report, generation=dataclasses.replace(call.generation, prompts=prompts)
        )

    async def _look_up(
        self, tenant: str, ask: RetrievalAsk, query: str, renderer: Renderer
    ) -> RetrievalReport:
        began_ms = self._clock.now_ms()
        passages: list[Passage] = []
        tokens = 0
        status = "suspended"
        collection = tenant, ask.collection
        if not self._suspensions.has(collection):
            try:
                most = ask.passages_max or self._settings.passages_max
                found = await self._client.look_up(tenant, ask.collection, query, most)
                passages, tokens = await self._fitting(found, ask.tokens_max, renderer)
                status = "ok" if passages else "empty"
                self._suspensions.note_answer(collection)
            except LookUpFailed as failure:
                status = str(failure)
                self._note_failure(collection, failure)
        took_ms = self._clock.now_ms() - began_ms
        self._metrics.look_ups.labels(status).inc()
        self._metrics.seconds.observe(took_ms / 1000.0)
        return RetrievalReport(status, took_ms, tuple(passages), tokens)

    async def _fitting(
        self, found: Sequence[Passage], asked_tokens: int, renderer: Renderer
    ) -> tuple[list[Passage], int]:
        """The best passages that fit the budget together, and their tokens.

        A long one may give way to shorter ones after it.
        """
        budget = min(asked_tokens or self._settings.tokens_max, self._settings.tokens_max)
        counts = await asyncio.to_thread(lambda: [len(renderer.text(one.text)) for one in found])
        kept: list[Passage] = []
        tokens = 0
        for passage, count in zip(found, counts, strict=True):
            if tokens + count <= budget:
                kept.append(passage)
                tokens += count
        return kept, tokens

    def _note_failure(self, collection: Collection, failure: LookUpFailed) -> None:
        if failure.is_away:
            self._suspensions.note_failure(collection)
        else:
            self._suspensions.note_answer(collection)
        _log.warning("passages could not be looked up (%s): %s", failure, failure.__cause__)


def open_retrieval(
    settings: RetrievalSettings, security: Security, registry: CollectorRegistry, clock: Clock
) -> Retrieval | WithoutRetrieval:
    """The hook as it is configured."""
    if not settings.address:
        return WithoutRetrieval()
    client = RetrieverClient(settings.address, settings.timeout_ms, security)
    return Retrieval(client, settings, Metrics(registry), clock)
