"""Which version of a model a caller gets: by weights, the same caller always the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import inf, log


@dataclass(frozen=True, slots=True)
class ModelVersions:
    """Weights of the versions behind each alias; an alias without an entry is a version itself.

    Weighted rendezvous hashing: each version draws a number from the hash of caller and version, and the
    highest of weight / -log(number) wins. A version is chosen in proportion to its weight; a change
    of weights moves only those callers that must move; a weight of 0 takes every caller away at once.
    """

    weights: Mapping[str, Mapping[str, float]]
    name: str = "model_versions"

    def version(self, alias: str, caller: str) -> str:
        """The model that this caller (a tenant or a conversation) gets for an alias."""
        versions = self.weights.get(alias) or {}
        live = [v for v, weight in versions.items() if weight > 0]
        if not live:
            return alias
        return max(live, key=lambda v: (_draw(alias, caller, v, versions[v]), v))


def _draw(alias: str, caller: str, version: str, weight: float) -> float:
    text = "\0".join((alias, caller, version)).encode()
    number = (int.from_bytes(blake2b(text, digest_size=8).digest(), "big") + 0.5) / 2**64
    return weight / -log(number) if number < 1.0 else inf
