"""Which worker has the KV of which prefix, as the workers' own KV events tell it.

Engines name a block by a hash of their own, which nobody else can compute. So the index names it anew
from the tokens that the event carries: a block's key is a 64-bit hash of its parent's key and its tokens,
and the first parent is made of a secret, the model, the cache salt and the LoRA adapter. The hash is the
interpreter's own (SipHash, keyed for each process). Two texts with one key would cost time, never
correctness: the engine decides itself what it reuses.
"""

import heapq
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from struct import iter_unpack

from services.common.domain import KvChange

FIRST_LOOK_BLOCKS = 16
"""How far the second look-up is from the first; to hash so many blocks costs what two look-ups do."""
EVICTED_SHARE = 1 / 256
"""Of the bound; evicting in batches keeps the search for the oldest cheap."""

Block = tuple[bytes]
"""One block's tokens, packed as `iter_unpack` gives them."""


Namespace = tuple[str, str, str]
"""Within what KV can be shared at all: model, cache salt, LoRA adapter."""


@dataclass(slots=True)
class _Holder:
    """One worker's blocks: its engine's hash -> our key, oldest first."""

    slot: int
    blocks_max: int
    keys: dict[bytes, int] = field(default_factory=dict)


@dataclass(slots=True)
class Overlap:
    """How much of one text each worker has: bit sets of workers, for each depth at which they change.

    Nobody changes it (freezing would cost).
    """

    levels: Sequence[tuple[int, int]] = ()
    """(tokens, workers that have at least so many), most tokens and fewest workers first."""
    bits: dict[int, int] = field(default_factory=dict)
    """The bit of each session; the index's own table."""
    slots: tuple[int, ...] | list[int] = ()
    """The session of each bit; the index's own table."""

    def tokens(self, sessions: Iterable[int]) -> list[int]:
        """Tokens at the text's beginning that each of these workers has."""
        found, bit_of, levels = [], self.bits.get, self.levels
        for session in sessions:
            bit = bit_of(session, 0)
            for tokens, workers in levels:
                if workers & bit:
                    found.append(tokens)
                    break
            else:
                found.append(0)
        return found

    def longest(self, among: int) -> int:
        """The most that one of these workers has, in tokens."""
        for tokens, workers in self.levels:
            if workers & among:
                return tokens
        return 0

    def best(self, among: int, most: int, chance: Random) -> list[int]:
        """Sessions of those that have most, at most so many (one or more), equals in random order."""
        found: list[int] = []
        for _, workers in self.levels:
            equals = workers & among
            among ^= equals
            first = int(chance.random() * equals.bit_length())
            while equals:
                left = equals >> first << first or equals
                lowest = left & -left
                equals ^= lowest
                found.append(self.slots[lowest.bit_length() - 1])
                if len(found) == most:
                    return found
        return found


NO_OVERLAP = Overlap()


class PrefixIndex:
    """Block keys of all workers, bounded; late, repeated and senseless events are harmless."""

    def __init__(self, blocks_max: int, secret: int = 0) -> None:
        self._blocks_max, self._secret = blocks_max, secret
        self._workers: dict[int, int] = {}
        """Block key -> bit set of the workers that have it."""
        self._holders: dict[int, _Holder] = {}
        self._bits: dict[int, int] = {}
        self._slots: list[int] = []
        self._free_slots: list[int] = []
        self._held = 0
        self.members = 0
        """Changes whenever a worker joins or leaves the index."""
        self.version = 0
        """Changes with every event."""

    def __len__(self) -> int:
        """Blocks known, counted once for each worker that has them: what the bound is on."""
        return self._held

    def feeds(self, session: int) -> bool:
        """Whether this worker has told of its cache at all."""
        return session in self._bits

    def mask(self, sessions: Iterable[int]) -> int:
        """These workers as a bit set."""
        workers = 0
        for session in sessions:
            workers |= self._bits.get(session, 0)
        return workers

    def take(
        self, session: int, model: str, change: KvChange, block_size_tokens: int, blocks_max: int
    ) -> None:
        """Take a worker's event in. Past `blocks_max`, what it can hold, its oldest are dropped."""
        self.version += 1
        if change.cleared:
            self.forget(session)
        holder = self._holders.get(session) or self._join(session, blocks_max)
        for name in change.removed_block_hashes:
            self._drop(session, holder, name)
        stored = change.stored_block_hashes
        is_whole = len(change.token_ids) == len(stored) * block_size_tokens
        if stored and is_whole and change.block_size_tokens == block_size_tokens:
            self._store(session, holder, model, change)

    def forget(self, session: int) -> None:
        """A worker has gone, or has cleared its cache."""
        holder = self._holders.pop(session, None)
        if holder is None:
            return
        for key in holder.keys.values():
            self._clear(key, self._bits[session])
        self._held -= len(holder.keys)
        del self._bits[session]
        heapq.heappush(self._free_slots, holder.slot)
        self.members += 1
        self.version += 1

    def overlap(self, name: Namespace, text: "array[int]", block_size_tokens: int) -> Overlap:
        """How deep into the text anybody's blocks reach, and who drops out on the way.

        The last token is never read from a cache: the engine must run it to sample the next.
        """
        whole = (len(text) - 1) // block_size_tokens
        if whole <= 0:
            return NO_OVERLAP
        key = hash(((text[:block_size_tokens].tobytes(),), self._root(name)))
        held = self._workers.get(key, 0)
        if not held:
            return NO_OVERLAP
        size_bytes = block_size_tokens * text.itemsize
        blocks = iter_unpack(f"{size_bytes}s", text[block_size_tokens : whole * block_size_tokens])
        levels = self._levels(key, held, blocks, whole, block_size_tokens)
        return Overlap(levels, self._bits, self._slots)

    def _levels(
        self, key: int, held: int, blocks: Iterator[Block], whole: int, block_size_tokens: int
    ) -> list[tuple[int, int]]:
        """Each depth in tokens past which somebody drops out, deepest first, with who had it until there.

        From those who have the first block, by its key. Looked up at ever doubled depths, and between two of
        them only where they differ: whoever has a block has those before it, as engines evict from a text's
        end. A look-up in a large table costs more than a hash.
        """
        of, keys, ahead = self._workers.get, [key], FIRST_LOOK_BLOCKS
        found: list[tuple[int, int]] = []
        parents, same = iter(keys), 1
        while held and same < whole:
            _append_keys(keys, islice(blocks, ahead), parents)
            deepest = len(keys)
            at_end = of(keys[-1], 0) & held
            while at_end != held:
                other, fewer = deepest, at_end
                while other - same > 1:
                    middle = (same + other) // 2
                    having = of(keys[middle - 1], 0) & held
                    if having == held:
                        same = middle
                    else:
                        other, fewer = middle, having
                found.append((same * block_size_tokens, held))
                same, held, at_end = other, fewer, at_end & fewer
            same, ahead = deepest, ahead * 2
        if held:
            found.append((same * block_size_tokens, held))
        found.reverse()
        return found

    def _root(self, name: Namespace) -> int:
        return hash((self._secret, name))

    def _join(self, session: int, blocks_max: int) -> _Holder:
        if self._free_slots:
            slot = heapq.heappop(self._free_slots)
            self._slots[slot] = session
        else:
            slot = len(self._slots)
            self._slots.append(session)
        self._bits[session] = 1 << slot
        self._holders[session] = holder = _Holder(slot, max(1, min(blocks_max, self._blocks_max)))
        self.members += 1
        return holder

    def _store(self, session: int, holder: _Holder, model: str, change: KvChange) -> None:
        if change.parent_block_hash:
            parent = holder.keys.get(change.parent_block_hash)
            if parent is None:
                return
        else:
            parent = self._root((model, change.cache_salt, change.lora))
        size_bytes, bit = change.block_size_tokens * change.token_ids.itemsize, self._bits[session]
        blocks = iter_unpack(f"{size_bytes}s", memoryview(change.token_ids).cast("B"))
        keys = [parent]
        _append_keys(keys, blocks, iter(keys))
        del keys[0]
        names = change.stored_block_hashes
        if holder.keys.keys().isdisjoint(names) and self._workers.keys().isdisjoint(keys):
            self._store_new(holder, names, keys, bit)
        else:
            self._store_each(session, holder, names, keys)
        self._keep_bounds(session, holder)

    def _store_new(self, holder: _Holder, names: Sequence[bytes], keys: Sequence[int], bit: int) -> None:
        """Blocks that neither this worker nor any other has: of most prompts, all."""
        before = len(holder.keys)
        holder.keys.update(zip(names, keys, strict=True))
        self._workers.update(dict.fromkeys(keys, bit))
        self._held += len(holder.keys) - before

    def _store_each(self, session: int, holder: _Holder, names: Sequence[bytes], keys: Sequence[int]) -> None:
        bit = self._bits[session]
        before = after = 0
        for name, key in zip(names, keys, strict=True):
            if name in holder.keys:
                self._drop(session, holder, name)
            having = self._workers.get(key, 0)
            if having is not before or not after:
                before, after = having, having | bit or bit
            self._workers[key] = after  # neighbours share one number, which bounds the memory
            holder.keys[name] = key
            self._held += 1

    def _drop(self, session: int, holder: _Holder, name: bytes) -> None:
        key = holder.keys.pop(name, None)
        if key is not None:
            self._held -= 1
            self._clear(key, self._bits[session])

    def _clear(self, key: int, bit: int) -> None:
        left = self._workers.get(key, 0) & ~bit
        if left:
            self._workers[key] = left
        else:
            self._workers.pop(key, None)

    def _keep_bounds(self, session: int, holder: _Holder) -> None:
        if len(holder.keys) > holder.blocks_max:
            batch = len(holder.keys) - holder.blocks_max + int(holder.blocks_max * EVICTED_SHARE)
            self._drop_oldest(session, holder, batch)
        while self._held > self._blocks_max:
            fullest = max(self._holders, key=lambda s: len(self._holders[s].keys))
            batch = self._held - self._blocks_max + int(self._blocks_max * EVICTED_SHARE)
            self._drop_oldest(fullest, self._holders[fullest], batch)

    def _drop_oldest(self, session: int, holder: _Holder, number: int) -> None:
        for name in list(islice(holder.keys, number)):
            self._drop(session, holder, name)


def _append_keys(keys: list[int], blocks: Iterable[Block], parents: Iterator[int]) -> None:
    """Append the key of each block: a hash of it and of its parent's key.

    `parents` walks along `keys` itself, so that each key appended is the next block's parent. That keeps the
    loop out of the interpreter.
    """
    keys.extend(map(hash, zip(blocks, parents, strict=False)))
