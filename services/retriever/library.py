"""Everything the retriever does, in a thread of its own: SQLite and embedders block."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from services.common.errors import QueueFull
from services.retriever.embedding import Embedder
from services.retriever.passages import cut
from services.retriever.vector_store import Found, StoredDocument, VectorStore

WAITING_MAX = 64
"""Calls that may wait for the thread; refused past it."""
RETRY_AFTER_MS = 250

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Document:
    """A text to find passages in; replaces the one of the same name."""

    name: str
    text: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of some documents."""

    documents: int
    passages: int


class Library:
    """Documents in, passages out. `scope` is the tenant and the collection."""

    def __init__(self, store: VectorStore, embedder: Embedder, passage_chars_max: int) -> None:
        self._store = store
        self._embedder = embedder
        self._passage_chars_max = passage_chars_max
        self._thread = ThreadPoolExecutor(1, "library")
        self._waiting = 0

    async def ingest(self, scope: Sequence[str], documents: Sequence[Document]) -> Ingested:
        """Add or replace documents; raises `QueueFull`."""

        def work() -> Ingested:
            kept = [self._prepared(document) for document in documents]
            return Ingested(len(kept), self._store.put(scope, kept))

        return await self._run(work)

    async def retrieve(self, scope: Sequence[str], query: str, passages_max: int) -> list[Found]:
        """The passages that fit best, best first; raises `QueueFull`."""

        def work() -> list[Found]:
            (vector,) = self._embedder.embed([query])
            return self._store.search(scope, vector, passages_max) if any(vector) else []

        return await self._run(work)

    async def delete(self, scope: Sequence[str], names: Sequence[str]) -> int:
        """Forget documents; the number of their passages. Raises `QueueFull`."""
        return await self._run(lambda: self._store.delete(scope, names))

    def close(self) -> None:
        """Finish what runs, and close the store."""
        self._thread.shutdown()
        self._store.close()

    def _prepared(self, document: Document) -> StoredDocument:
        passages = cut(document.text, self._passage_chars_max)
        pairs = list(zip(passages, self._embedder.embed(passages), strict=True))
        findable = [pair for pair in pairs if any(pair[1])]
        return StoredDocument(
            document.name, document.source, [text for text, _ in findable], [vector for _, vector in findable]
        )

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise QueueFull("the retriever's queue is full", retry_after_ms=RETRY_AFTER_MS)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1
