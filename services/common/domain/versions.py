"""Which of several weighted versions a caller gets: the same caller always the same."""

from collections.abc import Mapping
from hashlib import blake2b
from math import inf, log


def choose_version(name: str, caller: str, weights: Mapping[str, float]) -> str | None:
    """The version behind `name` for this caller (a tenant or a conversation); `None` when all weights are 0.

    Weighted rendezvous hashing: each version draws a number from the hash of caller and version, and the
    highest of weight / -log(number) wins. A version is chosen in proportion to its weight; a change
    of weights moves only those callers that must move; a weight of 0 takes every caller away at once.
    """
    live = [version for version, weight in weights.items() if weight > 0]
    if not live:
        return None
    return max(live, key=lambda version: (_draw(name, caller, version, weights[version]), version))


def _draw(name: str, caller: str, version: str, weight: float) -> float:
    text = "\0".join((name, caller, version)).encode()
    number = (int.from_bytes(blake2b(text, digest_size=8).digest(), "big") + 0.5) / 2**64
    return weight / -log(number) if number < 1.0 else inf
