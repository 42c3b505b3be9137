"""Changes of a worker's prefix cache that wait to be told to a router."""

from collections.abc import Iterable
from dataclasses import replace

from services.common.domain import KvChange

CHANGES_MAX = 1_024
"""Past it the older half is dropped, and the router is told to forget what it knew."""
GROWN_MAX = 256
"""Blocks by which texts have grown that wait; more are told at once."""


class KvBacklog:
    """What must be told soon, and what may wait: the growth of running texts, adopted prompts, and removals.

    Every running text grows by a block each few steps. To tell each alone would cost a router as much as the
    tokens do, and nobody asks for a text that is not finished; so they wait, the blocks of one text as one
    change. A prompt that is adopted has been told of already, by the worker that has run it.
    """

    def __init__(self) -> None:
        self._soon: list[KvChange] = []
        self._later: list[KvChange] = []
        self._ends: dict[bytes, int] = {}
        """Where in `_later` the text stands whose last block this is."""
        self._is_cut = False
        self.size_bytes = 0
        """Roughly what waits takes."""

    @property
    def is_pressing(self) -> bool:
        """Whether something is to be told soon."""
        return self._is_cut or bool(self._soon) or len(self._later) >= GROWN_MAX

    def add(self, changes: Iterable[KvChange], *, adopts: bool = False) -> None:
        """Append changes, of a step that adopts prompts or of one that does not."""
        for change in changes:
            self.size_bytes += _size_bytes(change)
            if change.cleared or (len(change.stored_block_hashes) > 1 and not adopts):
                self._add_pressing(change)
            else:
                self._add_later(change)
        if len(self._soon) + len(self._later) > CHANGES_MAX:
            self._soon = self.take()[-CHANGES_MAX // 2 :]
            self._is_cut = True
            self.size_bytes = sum(map(_size_bytes, self._soon))

    def take(self) -> list[KvChange]:
        """Everything that waits, in order."""
        changes = [KvChange(cleared=True)] if self._is_cut else []
        changes += self._soon
        changes += self._later
        self._soon, self._later, self._ends = [], [], {}
        self._is_cut, self.size_bytes = False, 0
        return changes

    def take_pressing(self) -> list[KvChange]:
        """What is to be told soon, in order; all of it, where that is only whole together."""
        if self._is_cut or len(self._later) >= GROWN_MAX:
            return self.take()
        changes, self._soon = self._soon, []
        return changes

    def _add_pressing(self, change: KvChange) -> None:
        if change.cleared or change.parent_block_hash in self._ends:
            self._soon += self._later  # what it clears, and what it continues, comes before it
            self._later, self._ends = [], {}
        self._soon.append(change)

    def _add_later(self, change: KvChange) -> None:
        if change.removed_block_hashes:
            self._ends.clear()
        elif (at := self._ends.pop(change.parent_block_hash, None)) is not None:
            self._later[at] = _joined(self._later[at], change)
            self._ends[change.stored_block_hashes[-1]] = at
            return
        if change.stored_block_hashes:
            self._ends[change.stored_block_hashes[-1]] = len(self._later)
        self._later.append(change)


def _joined(text: KvChange, growth: KvChange) -> KvChange:
    blocks = text.stored_block_hashes + growth.stored_block_hashes
    return replace(text, stored_block_hashes=blocks, token_ids=text.token_ids + growth.token_ids)


def _size_bytes(change: KvChange) -> int:
    return 4 * len(change.token_ids) + 32 * len(change.stored_block_hashes + change.removed_block_hashes)
