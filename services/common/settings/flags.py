"""Command-line parsers generated from settings classes."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from services.common.errors import BadSetting
from services.common.settings.leaf import Leaf, leaves
from services.common.settings.nearest import unknown


class StrictParser(argparse.ArgumentParser):
    """An argparse parser whose errors are `BadSetting`, which takes no abbreviations."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Help, **options)
        self.usage = options.get("usage", f"{self.prog} [flags]")

    def error(self, message: str) -> NoReturn:
        """Refuse; argparse would print its usage and exit by itself."""
        raise BadSetting(message)


class _Help(argparse.HelpFormatter):
    """Room for long flags."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=110)


def add_flags(parser: argparse.ArgumentParser, cls: type[Any], service: str) -> None:
    """Give `parser` a flag for every setting of `cls`; flags that are not given leave no trace."""
    for leaf in leaves(cls):
        text = _help(leaf, service) if leaf.in_help else argparse.SUPPRESS
        options: dict[str, Any] = {"help": text, "default": argparse.SUPPRESS}
        if leaf.kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["metavar"] = _metavar(leaf)
        if leaf.kind is tuple:
            options["action"] = "append"
        parser.add_argument(leaf.flag, dest=leaf.name, **options)


def parse_flags(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> dict[str, Any]:
    """The given flags by setting name; raises `BadSetting` for one that the parser does not know."""
    given, rest = parser.parse_known_args(arguments)
    if rest:
        name = rest[0].partition("=")[0]
        raise unknown("flag" if name.startswith("-") else "argument", name, flags_of(parser))
    return vars(given)


def flags_of(parser: argparse.ArgumentParser) -> list[str]:
    """All flags of a parser."""
    return [text for action in parser._actions for text in action.option_strings]


def _help(leaf: Leaf, service: str) -> str:
    choices = f", one of {', '.join(leaf.choices)}" if leaf.choices else ""
    repeat = ", repeatable" if leaf.kind is tuple else ""
    text = f"{leaf.help_text}{choices}{repeat} [{shown(leaf.default)}; {leaf.variable(service)}]"
    return text.replace("%", "%%")


def shown(default: Any) -> str:
    """A default as help and documentation print it."""
    if default is None or default in ("", ()):
        return "not set"
    if isinstance(default, bool):
        return "on" if default else "off"
    return ",".join(default) if isinstance(default, tuple) else str(default)


def _metavar(leaf: Leaf) -> str:
    return {str: "TEXT", int: "N", float: "X", tuple: "TEXT"}[leaf.kind]
