"""A command's settings from its flags, the environment and the configuration file."""

import os
from collections.abc import Sequence
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
    return load(cls, service=service, flags=flags, environ=os.environ, file=path), own
