"""Declaring one setting, or a group of them."""

import dataclasses
import math
from typing import Any


def setting(
    default: Any,
    help_text: str,
    *,
    choices: tuple[str, ...] = (),
    least: float = -math.inf,
    most: float = math.inf,
    is_secret: bool = False,
) -> Any:
    """A dataclass field of a `Settings` class: its default, one line of help, allowed values if few, and the
    range of a number, both ends included.

    The field's name carries the unit (`grace_ms`); a flag `--grace-ms`, a variable
    `PDMESH_<SERVICE>_GRACE_MS` and a key `grace_ms` in the file's `[<service>]` table follow from it.
    What may hold a secret has a second setting, its name with `_file` behind: a file with the value.
    """
    metadata = {"help": help_text, "choices": choices, "least": least, "most": most}
    metadata |= {"is_secret": is_secret}
    return dataclasses.field(default=default, metadata=metadata)


def group(kind: type[Any], prefix: str = "", *, in_help: bool = True) -> Any:
    """A dataclass field that holds another settings class, whose names get `prefix` in front.

    The group's fields are flags, variables and keys of the service like any other; composing the same
    class twice needs two prefixes. With `in_help` False, `--help` leaves them out.
    """
    return dataclasses.field(default_factory=kind, metadata={"prefix": prefix, "in_help": in_help})
