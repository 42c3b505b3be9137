"""KV blocks of a simulated engine: counted, shared by content, evicted least recently used first."""

from array import array
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b

from services.common.domain import KvChange
from services.common.domain.tokens import to_bytes


def adapter_key(lora: str) -> bytes:
    """What an adapter mixes into everything that depends on the weights; nothing for the model itself."""
    return blake2b(lora.encode()).digest() if lora else b""


def root_hash(cache_salt: str, lora: str = "") -> bytes:
    """The parent of a prompt's first block; a salt keeps tenants' caches apart, an adapter makes other KV."""
    if not cache_salt and not lora:
        return b""
    return blake2b(cache_salt.encode(), digest_size=8, key=adapter_key(lora)).digest()


def block_hash(parent: bytes, ids: "array[int]") -> bytes:
    """Identity of one block's KV, 8 bytes: it depends on the block's tokens and on all before them."""
    return blake2b(parent + to_bytes(ids), digest_size=8).digest()


@dataclass(slots=True)
class Holding:
    """Blocks that one owner holds: `shared` by content hash, in text order, then `private` ones."""

    cache_salt: str = ""
    lora: str = ""
    shared: list[bytes] = field(default_factory=list)
    private: int = 0

    @property
    def blocks(self) -> int:
        """Number of blocks held."""
        return len(self.shared) + self.private

    @property
    def tip(self) -> bytes:
        """Hash of the last shared block; the parent of the next."""
        return self.shared[-1] if self.shared else root_hash(self.cache_salt, self.lora)


class BlockPool:
    """Every block is in exactly one state: free, cached without an owner, or held."""

    def __init__(self, total: int, block_size_tokens: int, *, prefix_caching: bool = True) -> None:
        self.total = total
        self.block_size_tokens = block_size_tokens
        self._prefix_caching = prefix_caching
        self._free = total
        self._owners: dict[bytes, int] = {}
        self._idle: OrderedDict[bytes, None] = OrderedDict()
        self._changes: list[KvChange] = []

    @property
    def available(self) -> int:
        """Blocks that can be had: free ones and cached ones without an owner."""
        return self._free + len(self._idle)

    @property
    def cached(self) -> int:
        """Blocks whose content can be found by hash."""
        return len(self._owners) + len(self._idle)

    def acquire(
        self,
        text: "array[int]",
        tokens_needed: int,
        cache_salt: str,
        reuse_tokens_max: int,
        lora: str = "",
    ) -> Holding | None:
        """Blocks for `tokens_needed` tokens, the longest cached prefix of `text` among them.

        At most `reuse_tokens_max` tokens come from the cache. None, and nothing taken, when there is no room.
        """
        holding = Holding(cache_salt, lora)
        wanted = -(-tokens_needed // self.block_size_tokens)
        found = self._cached_prefix(text, holding.tip, reuse_tokens_max)
        idle_found = sum(1 for name in found if name in self._idle)
        if wanted - len(found) > self.available - idle_found:
            return None
        for name in found:
            self._idle.pop(name, None)
            self._owners[name] = self._owners.get(name, 0) + 1
        holding.shared = found
        for _ in range(wanted - len(found)):
            self.grow(holding)
        return holding

    def grow(self, holding: Holding) -> bool:
        """Add one private block; False when there is none."""
        if self._free == 0 and not self._evict_oldest():
            return False
        self._free -= 1
        holding.private += 1
        return True

    def publish(self, holding: Holding, text: "array[int]", computed_tokens: int) -> None:
        """Make the full blocks among the first `computed_tokens` of `text` findable by content."""
        if not self._prefix_caching:
            return
        size, parent, start = (
            self.block_size_tokens,
            holding.shared[-1] if holding.shared else b"",
            len(holding.shared) * self.block_size_tokens,
        )
        stored: list[bytes] = []
        end = start
        while end + size <= computed_tokens and holding.private:
            name = block_hash(holding.tip, text[end : end + size])
            if name in self._owners or name in self._idle:
                break  # computed twice at the same time: ours stays private
            holding.private -= 1
            holding.shared.append(name)
            self._owners[name] = 1
            stored.append(name)
            end += size
        if stored:
            self._changes.append(
                KvChange(
                    stored_block_hashes=tuple(stored),
                    parent_block_hash=parent,
                    token_ids=text[start:end],
                    block_size_tokens=size,
                    cache_salt=holding.cache_salt,
                    lora=holding.lora,
                )
            )

    def free(self, holding: Holding) -> None:
        """Give all blocks back; shared content stays cached until it is evicted. Idempotent."""
        self._free += holding.private
        holding.private = 0
        for name in reversed(holding.shared):  # the end of a prefix is the first to be evicted
            self._owners[name] -= 1
            if self._owners[name] == 0:
                del self._owners[name]
                self._idle[name] = None
        holding.shared = []

    def take_changes(self) -> list[KvChange]:
        """Changes of the cache since the last call, in order."""
        changes, self._changes = self._changes, []
        return changes

    def _cached_prefix(self, text: "array[int]", parent: bytes, tokens_max: int) -> list[bytes]:
        found: list[bytes] = []
        if not self._prefix_caching:
            return found
        size = self.block_size_tokens
        for start in range(0, min(tokens_max, len(text)) - size + 1, size):
            parent = block_hash(parent, text[start : start + size])
            if parent not in self._owners and parent not in self._idle:
                break
            found.append(parent)
        return found

    def _evict_oldest(self) -> bool:
        if not self._idle:
            return False
        name, _ = self._idle.popitem(last=False)
        self._free += 1
        self._changes.append(KvChange(removed_block_hashes=(name,)))
        return True
