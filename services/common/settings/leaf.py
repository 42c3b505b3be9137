"""One setting as the outside sees it: a name, a type, a default, a line of help."""

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any

SCALARS = (str, int, float, bool)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A setting with everything that flags, variables, files and documentation need of it."""

    name: str
    """Its name outside, group prefixes included, in snake_case."""
    kind: type[Any]
    """str, int, float, bool, or tuple (of str)."""
    optional: bool
    """Whether None is allowed."""
    default: Any
    help_text: str
    choices: tuple[str, ...]
    least: float
    most: float
    """The range of a number, both ends included; infinite where there is no end."""
    in_help: bool
    is_secret: bool = False
    """Whether it may hold what only this process is to know."""
    of_file: str = ""
    """The name of the setting whose value is in the file that this one names."""

    @property
    def flag(self) -> str:
        """The flag, `--grace-ms`."""
        return "--" + self.name.replace("_", "-")

    def variable(self, service: str) -> str:
        """The environment variable, `PDMESH_GATEWAY_GRACE_MS`."""
        return f"PDMESH_{service}_{self.name}".upper()


def leaves(cls: type[Any], prefix: str = "", in_help: bool = True) -> list[Leaf]:
    """All settings of a settings class, groups opened, in the order of declaration.

    Raises TypeError when the class declares something that has no flag: a programming error.
    """
    hints = typing.get_type_hints(cls)
    found: list[Leaf] = []
    for field in dataclasses.fields(cls):
        if "prefix" in field.metadata:
            inside = prefix + field.metadata["prefix"]
            found += leaves(hints[field.name], inside, in_help and field.metadata["in_help"])
        elif "help" in field.metadata:
            found.append(leaf := _leaf(field, hints[field.name], prefix, in_help))
            if leaf.is_secret:
                found.append(_file_leaf(leaf))
        else:
            raise TypeError(f"{cls.__name__}.{field.name} is declared with neither setting() nor group()")
    return found


def _leaf(field: "dataclasses.Field[Any]", annotation: Any, prefix: str, in_help: bool) -> Leaf:
    kind, optional = _kind(annotation, field.name)
    return Leaf(
        name=prefix + field.name,
        kind=kind,
        optional=optional,
        default=field.default,
        help_text=field.metadata["help"],
        choices=field.metadata["choices"],
        least=field.metadata["least"],
        most=field.metadata["most"],
        in_help=in_help,
        is_secret=field.metadata["is_secret"],
    )


def _file_leaf(leaf: Leaf) -> Leaf:
    """The setting that names a file with a secret."""
    text = f"File with the value of {leaf.flag}, which nothing else can read from there"
    name = f"{leaf.name}_file"
    return dataclasses.replace(
        leaf, name=name, default="", help_text=text, is_secret=False, of_file=leaf.name
    )


def _kind(annotation: Any, name: str) -> tuple[type[Any], bool]:
    """The plain type of an annotation, and whether None is allowed beside it."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        plain = [arm for arm in typing.get_args(annotation) if arm is not types.NoneType]
        if len(plain) == 1 and len(typing.get_args(annotation)) == 2:
            return _kind(plain[0], name)[0], True
    elif annotation in SCALARS:
        return annotation, False
    elif typing.get_origin(annotation) is tuple and typing.get_args(annotation) == (str, ...):
        return tuple, False
    raise TypeError(f"setting {name} has the unsupported type {annotation}")
