"""A conversation in fewer roles, for chat templates that are strict about them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]
_SYSTEM = ("system", "developer")


def in_plain_roles(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Ways to say the same, each plainer than the one before.

    First with one system message at the beginning: those that come later are the user's words, and the user
    says all at once. Then without any system message. Results of tools and the assistant's messages stay.
    """
    yield _joined(messages, keeps_system=True)
    yield _joined(messages, keeps_system=False)


def _joined(messages: Sequence[Message], *, keeps_system: bool) -> list[Message]:
    made: list[Message] = []
    for message in messages:
        role = message["role"]
        if role in _SYSTEM:
            is_first = keeps_system and all(one["role"] == "system" for one in made)
            role = "system" if is_first else "user"
        if made and role == made[-1]["role"] and role in ("system", "user"):
            made[-1] = {**made[-1], "content": _together(made[-1]["content"], message["content"])}
        else:
            made.append({**message, "role": role})
    return made


def _together(first: str, second: str) -> str:
    return "\n\n".join([text for text in (first, second) if text])
