"""What shape an answer must have."""

from dataclasses import dataclass
from enum import IntEnum


class StructuredKind(IntEnum):
    """In which language the shape is described."""

    JSON_SCHEMA = 1
    """The value is a JSON schema."""
    JSON_OBJECT = 2
    """Any JSON object; no value."""
    REGEX = 3
    CHOICE = 4
    """The value is a JSON list of texts, of which the answer is one."""
    GRAMMAR = 5
    """The value is a context-free grammar in GBNF."""
    STRUCTURAL_TAG = 6
    """The value is a structural tag, as JSON: structure between given marks, free text elsewhere."""


@dataclass(frozen=True, slots=True)
class Structured:
    """A constraint on the whole answer, kept by the engine token by token."""

    kind: StructuredKind
    value: str = ""


SHAPE_REFUSED = "structured answer: "
"""How an engine's words begin when it refuses the shape; the gateway says the field's name instead."""
