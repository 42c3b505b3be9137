"""What the engine's prefix cache holds, kept for routers that attach later than it was filled."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from services.common.domain import KvChange
from services.common.domain.tokens import tokens

RUNS_MAX = 1_000
"""Events in one snapshot, newest texts first; a frame has room for a few more."""


@dataclass(slots=True)
class _Block:
    """One cached block and where it stands."""

    parent: bytes
    token_ids: "array[int]"
    cache_salt: str
    lora: str


class CachedBlocks:
    """A shadow of the engine's prefix cache, from its events. Past `tokens_max` the oldest are forgotten."""

    def __init__(self, tokens_max: int) -> None:
        self._tokens_max = tokens_max
        self._tokens = 0
        self._blocks: dict[bytes, _Block] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def take(self, changes: Iterable[KvChange]) -> None:
        """Follow the engine's events, in their order."""
        for change in changes:
            if change.cleared:
                self._blocks.clear()
                self._tokens = 0
            for name in change.removed_block_hashes:
                self._drop(name)
            self._store(change)

    def snapshot(self) -> list[KvChange]:
        """Events that tell an ignorant router of everything here, each block after its parent."""
        children: dict[bytes, list[bytes]] = defaultdict(list)
        for name, block in self._blocks.items():
            children[block.parent].append(name)
        return list(islice(self._runs(children), RUNS_MAX))

    def _runs(self, children: dict[bytes, list[bytes]]) -> Iterator[KvChange]:
        """One event for each run of blocks that follow each other; a fork starts runs of its own."""
        starts = children[b""]
        while starts:
            run = [starts.pop()]
            while following := children.get(run[-1]):
                run.append(following[0])
                starts += following[1:]
            yield self._event(run)

    def _event(self, run: list[bytes]) -> KvChange:
        first, ids = self._blocks[run[0]], tokens()
        for name in run:
            ids.extend(self._blocks[name].token_ids)
        return KvChange(
            stored_block_hashes=tuple(run),
            parent_block_hash=first.parent,
            token_ids=ids,
            block_size_tokens=len(first.token_ids),
            cache_salt=first.cache_salt,
            lora=first.lora,
        )

    def _store(self, change: KvChange) -> None:
        names, size = change.stored_block_hashes, change.block_size_tokens
        if size < 1 or len(change.token_ids) != len(names) * size:
            return
        parent = change.parent_block_hash
        for start, name in zip(range(0, len(change.token_ids), size), names, strict=True):
            self._drop(name)
            ids = change.token_ids[start : start + size]
            self._blocks[name] = _Block(parent, ids, change.cache_salt, change.lora)
            self._tokens += size
            parent = name
        if self._tokens > self._tokens_max:
            for name in list(islice(self._blocks, (self._tokens - self._tokens_max) // size + 1)):
                self._drop(name)

    def _drop(self, name: bytes) -> None:
        block = self._blocks.pop(name, None)
        if block is not None:
            self._tokens -= len(block.token_ids)
