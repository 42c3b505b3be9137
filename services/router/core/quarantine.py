"""Prompts that kill workers: after two deaths with the same content they are refused.

A worker that dies takes many requests with it, nearly all of them innocent. So a content is quarantined
only when it is among the few that were on both workers; where many were, chance or an operator is
likelier, and the bound of retries protects the fleet. One that is answered between the two deaths is
innocent: callers ask the same again, and hosts fail again. A content is a tenant's own: others who send the
same are not refused for what happened to one.
"""

from array import array
from collections.abc import Iterable
from hashlib import blake2b

SUSPECTS_REMEMBERED_MAX = 10_000
COMMON_SUSPECTS_MAX = 3

Content = tuple[str, bytes]
"""Tenant, and hash of the prompt."""


def content_of(tenant: str, prompt: "array[int]") -> Content:
    """A tenant's prompt, its tokens as 16 bytes."""
    return tenant, blake2b(prompt.tobytes(), digest_size=16).digest()


def title(content: Content) -> str:
    """What operators read of a content; nothing of what it says."""
    tenant, digest = content
    return f"prompt {digest.hex()[:12]} of tenant {tenant or 'anonymous'}"


class Quarantine:
    """Contents that were on dying workers, and those that are refused."""

    def __init__(self) -> None:
        self._deaths: dict[Content, set[int]] = {}
        self._refused: dict[Content, None] = {}

    def __len__(self) -> int:
        return len(self._refused)

    def worker_died(self, session: int, suspects: "Iterable[tuple[str, array[int]]]") -> list[str]:
        """A worker has died with these tenants' prompts on it; returns the titles of what is refused from
        now on."""
        twice: list[Content] = []
        for content in dict.fromkeys(content_of(tenant, prompt) for tenant, prompt in suspects):
            deaths = self._deaths.setdefault(content, set())
            deaths.add(session)
            if len(deaths) >= 2:
                twice.append(content)
        new = [content for content in twice if content not in self._refused]
        if len(twice) > COMMON_SUSPECTS_MAX:
            new = []
        self._refused.update(dict.fromkeys(new))
        for memory in (self._deaths, self._refused):
            while len(memory) > SUSPECTS_REMEMBERED_MAX:  # oldest first
                del memory[next(iter(memory))]
        return [title(content) for content in new]

    def answered(self, tenant: str, prompt: "array[int]") -> None:
        """A prompt was answered whole since: what its workers died of was something else."""
        if self._deaths:
            self._deaths.pop(content_of(tenant, prompt), None)

    def holds(self, tenant: str, prompt: "array[int]") -> bool:
        """Whether this tenant's content is refused."""
        return bool(self._refused) and content_of(tenant, prompt) in self._refused

    def release(self) -> list[str]:
        """Forget everything, by an operator's will; returns the titles of what was refused."""
        refused = [title(content) for content in self._refused]
        self._deaths.clear()
        self._refused.clear()
        return refused
