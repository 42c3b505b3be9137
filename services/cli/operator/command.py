"""What one operator command is made of."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from services.cli.operator.client import OperatorClient

Options = dict[str, Any]
"""The command's own arguments by name, those that have a value."""


@dataclass(frozen=True, slots=True)
class Argument:
    """A positional argument, or a flag when its name begins with dashes; `options` are argparse's."""

    name: str
    help_text: str
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """A description, arguments, and what is done; `act` returns the exit code."""

    description: str
    act: Callable[[OperatorClient, Options], Awaitable[int]]
    arguments: Sequence[Argument] = ()


def argument(name: str, help_text: str, **options: Any) -> Argument:
    """Declare an argument."""
    return Argument(name, help_text, options)
