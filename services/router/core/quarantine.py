"""Prompts that kill workers: after two deaths with the same content they are refused.

A worker that dies takes many requests with it, nearly all of them innocent. So a content is quarantined
only when it is among the few that were on both workers; where many were, chance or an operator is
likelier, and the bound of retries protects the fleet. One that is answered between the two deaths is
innocent: callers ask the same again, and hosts fail again.
"""

from array import array
from hashlib import blake2b

SUSPECTS_REMEMBERED_MAX = 10_000
COMMON_SUSPECTS_MAX = 3


def content_hash(prompt: "array[int]") -> bytes:
    """A prompt's content, 16 bytes."""
    return blake2b(prompt.tobytes(), digest_size=16).digest()


class Quarantine:
    """Contents that were on dying workers, and those that are refused."""

    def __init__(self) -> None:
        self._deaths: dict[bytes, set[int]] = {}
        self._refused: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._refused)

    def worker_died(self, session: int, prompts: "list[array[int]]") -> None:
        """A worker has died with these prompts on it."""
        twice: list[bytes] = []
        for content in {content_hash(p) for p in prompts}:
            deaths = self._deaths.setdefault(content, set())
            deaths.add(session)
            if len(deaths) >= 2:
                twice.append(content)
        if len(twice) <= COMMON_SUSPECTS_MAX:
            self._refused.update(dict.fromkeys(twice))
        for memory in (self._deaths, self._refused):
            while len(memory) > SUSPECTS_REMEMBERED_MAX:  # oldest first
                del memory[next(iter(memory))]

    def answered(self, prompt: "array[int]") -> None:
        """A prompt was answered whole since: what its workers died of was something else."""
        if self._deaths:
            self._deaths.pop(content_hash(prompt), None)

    def holds(self, prompt: "array[int]") -> bool:
        """Whether this content is refused."""
        return bool(self._refused) and content_hash(prompt) in self._refused

    def release(self) -> int:
        """Forget everything, by an operator's will; returns how many contents were refused."""
        number = len(self._refused)
        self._deaths.clear()
        self._refused.clear()
        return number
