"""One request as it will turn out: its prompt, and the answer that nobody knows beforehand."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ask:
    """What a caller asks for."""

    prompt_tokens: int
    answer_tokens: int
    pieces: tuple[int, ...] = ()
    """Names of the prefix's pieces; equal names are equal text."""
