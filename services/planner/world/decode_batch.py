"""The sequences that decode together, of which many steps are taken at once.

All gain one token a step, so what a step changes in each of them is a function of when it joined: its length,
its end, and the step at which it needs a block. So many steps cost as much as one.
"""

import heapq
from itertools import count

from services.planner.world.sequence import Phase, Sequence


class DecodeBatch:
    """Sequences in the order in which they joined."""

    def __init__(self, block_size_tokens: int) -> None:
        self.steps = 0
        """Decode steps taken."""
        self._size = block_size_tokens
        self._members: dict[Sequence, None] = {}
        self._ends: list[tuple[int, int, Sequence]] = []
        self._order = count()
        self._lengths = 0
        """Sum over members of their length minus the step at which they joined."""
        self._grows = [0] * block_size_tokens
        """Members that need a block when `steps` modulo the block's size is the index."""

    def __len__(self) -> int:
        return len(self._members)

    @property
    def context_tokens(self) -> int:
        """Sum of the members' lengths."""
        return self._lengths + len(self._members) * self.steps

    def length(self, sequence: Sequence) -> int:
        """A member's length by now."""
        return sequence.length + self.steps - sequence.joined_step

    def add(self, sequence: Sequence) -> None:
        """Let it decode from the next step on."""
        sequence.phase = Phase.DECODING
        sequence.joined_step = self.steps
        self._members[sequence] = None
        self._lengths += sequence.length - self.steps
        self._grows[self._phase(sequence)] += 1
        last = self.steps + sequence.end_length - sequence.length
        heapq.heappush(self._ends, (last, next(self._order), sequence))

    def remove(self, sequence: Sequence) -> None:
        """Take a member out; its length is from then on what it came to."""
        del self._members[sequence]
        self._lengths -= sequence.length - sequence.joined_step
        self._grows[self._phase(sequence)] -= 1
        length = self.length(sequence)
        sequence.generated += length - sequence.length
        sequence.length = length

    def youngest(self) -> Sequence:
        """Who joined last."""
        return next(reversed(self._members))

    def members(self) -> list[Sequence]:
        """All, oldest first."""
        return list(self._members)

    def steps_to_end(self) -> int:
        """Steps until the next member ends; 0 without members."""
        ends = self._ends
        while ends and not self._is_live(ends[0]):
            heapq.heappop(ends)
        return ends[0][0] - self.steps if ends else 0

    def ended(self) -> list[Sequence]:
        """Members that end with the step just taken, still members."""
        found, ends = [], self._ends
        while ends and ends[0][0] <= self.steps:
            entry = heapq.heappop(ends)
            if self._is_live(entry):
                found.append(entry[2])
        return found

    def growth(self, steps: int) -> int:
        """Blocks that the members need for so many further steps."""
        whole, rest = divmod(steps, self._size)
        blocks = whole * len(self._members)
        for step in range(self.steps + 1, self.steps + rest + 1):
            blocks += self._grows[step % self._size]
        return blocks

    def _is_live(self, entry: tuple[int, int, Sequence]) -> bool:
        """Whether an entry still tells when its sequence ends: it may have left, and joined anew."""
        last, _, sequence = entry
        if sequence.phase is not Phase.DECODING or sequence not in self._members:
            return False
        return sequence.joined_step + sequence.end_length - sequence.length == last

    def _phase(self, sequence: Sequence) -> int:
        """A block is needed whenever the length becomes a whole number of blocks and one token."""
        return (sequence.joined_step + 1 - sequence.length) % self._size
