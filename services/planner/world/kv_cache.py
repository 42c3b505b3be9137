"""KV blocks of a virtual engine by number alone, and prefixes by name.

A request may say which prefixes its prompt begins with: names of pieces of so many tokens, in order. Pieces
stay cached without an owner until their blocks are needed, the longest unused first.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

PIECE_TOKENS = 512
"""Tokens of one named piece of a prefix, as published traces cut them."""


@dataclass(slots=True)
class Holding:
    """What one sequence holds."""

    pieces: list[int] = field(default_factory=list)
    """Shared, from the text's beginning."""
    private: int = 0
    """Blocks of its own."""


class KvCache:
    """Every block is free, cached without an owner, or held."""

    def __init__(self, blocks: int, block_size_tokens: int, *, piece_tokens: int = PIECE_TOKENS) -> None:
        self.blocks, self.block_size_tokens = blocks, block_size_tokens
        self.piece_tokens = piece_tokens
        self.free = blocks
        self._piece_blocks = max(1, piece_tokens // block_size_tokens)
        self._owners: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Blocks that can be had."""
        return self.free + len(self._idle) * self._piece_blocks

    @property
    def held(self) -> int:
        """Blocks with an owner."""
        return self.blocks - self.available

    def cached_pieces(self, pieces: Sequence[int]) -> int:
        """How many of these are here, from the first on."""
        for found, name in enumerate(pieces):
            if name not in self._owners and name not in self._idle:
                return found
        return len(pieces)

    def acquire(self, tokens: int, pieces: Sequence[int]) -> Holding | None:
        """Blocks for a text, the pieces that are cached among them; None, and nothing taken, without room."""
        found = list(pieces[: self.cached_pieces(pieces)])
        wanted = max(0, -(-tokens // self.block_size_tokens) - len(found) * self._piece_blocks)
        idle = sum(1 for name in found if name in self._idle)
        if wanted > self.available - idle * self._piece_blocks:
            return None
        for name in found:
            self._idle.pop(name, None)
            self._owners[name] = self._owners.get(name, 0) + 1
        holding = Holding(found)
        self._take(wanted)
        holding.private = wanted
        return holding

    def grow(self, blocks: int) -> None:
        """Take so many more, which are available; whoever holds them counts them."""
        self._take(blocks)

    def publish(self, holding: Holding, pieces: Sequence[int]) -> list[int]:
        """Make the prompt's pieces findable; returns those that were not before."""
        new = []
        for name in pieces[len(holding.pieces) :]:
            if name in self._owners or name in self._idle or holding.private < self._piece_blocks:
                break  # computed twice at the same time: ours stays private
            holding.private -= self._piece_blocks
            holding.pieces.append(name)
            self._owners[name] = 1
            new.append(name)
        return new

    def release(self, holding: Holding) -> None:
        """Give all back; pieces stay cached."""
        self.free += holding.private
        holding.private = 0
        for name in reversed(holding.pieces):  # the end of a prefix is the first to go
            self._owners[name] -= 1
            if not self._owners[name]:
                del self._owners[name]
                self._idle[name] = None
        holding.pieces = []

    def _take(self, blocks: int) -> None:
        self.free -= blocks
        while self.free < 0:
            self._idle.popitem(last=False)
            self.free += self._piece_blocks
