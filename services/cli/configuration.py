"""A command's settings from its flags, the environment and the configuration file."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from services.common.settings import CONFIG_VARIABLE, StrictParser, add_flags, leaves, load, parse_flags

T = TypeVar("T")


def read(
    parser: StrictParser, cls: type[T], service: str, arguments: Sequence[str]
) -> tuple[T, dict[str, Any]]:
    """The settings, and the values of the flags that `parser` had before; raises `BadSetting`."""
    config_help = f"TOML file with one table per service [not set; {CONFIG_VARIABLE}]"
    parser.add_argument("--config", metavar="FILE", help=config_help)
    add_flags(parser, cls, service)
    given = parse_flags(parser, arguments)
    file = given.pop("config") or os.environ.get(CONFIG_VARIABLE)
    names = {leaf.name for leaf in leaves(cls)}
    flags = {name: value for name, value in given.items() if name in names}
    own = {name: value for name, value in given.items() if name not in names}
    path = Path(file) if file else None
    warn_of_passwords(cls, service, flags)
    return load(cls, service=service, flags=flags, environ=os.environ, file=path), own


def warn_of_passwords(cls: type[Any], service: str, flags: Mapping[str, Any]) -> None:
    """Say of an address with a password that a flag is the wrong place for it."""
    for leaf in leaves(cls):
        if leaf.is_secret and "@" in str(flags.get(leaf.name, "")):
            instead = f"{leaf.variable(service)} or {leaf.flag}-file"
            print(f"warning: others on this host can read {leaf.flag}; rather use {instead}", file=sys.stderr)
