"""Reading the models file: strict, whole or not at all."""

import dataclasses
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from services.common.errors import BadSetting
from services.common.limits import DEFAULTS, Limits
from services.common.settings import leaves, unknown
from services.common.settings.value import from_toml
from services.gateway.models.routing.entry import AdapterEntry, AutoEntry, FilesEntry, VersionsEntry
from services.gateway.models.routing.names import AUTO, Names, Versions

TABLES = ("adapters", "aliases", "auto", "models", "versions")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,127}")

T = TypeVar("T")
Values = Mapping[str, Any]


def read_names(text: bytes, source: str, limits: Limits = DEFAULTS) -> Names:
    """All names; raises `BadSetting` in one line that names the place."""
    document = _parsed(text, source, limits)
    names = Names(
        aliases=dict(_aliases(document, source)),
        versions={name: _versions(table, at) for name, table, at in _tables(document, "versions", source)},
        adapters={
            name: _adapter(name, table, at) for name, table, at in _tables(document, "adapters", source)
        },
        auto=_auto(document["auto"], f"{source} [auto]") if "auto" in document else None,
        files={name: _files(table, at) for name, table, at in _tables(document, "models", source)},
    )
    _check_unique(names, source)
    _check_ends(names, source)
    if len(names.files) > limits.tokenizers_max:
        raise BadSetting(f"{source} [models]: over {limits.tokenizers_max} models with files of their own")
    return names


def _parsed(text: bytes, source: str, limits: Limits) -> Values:
    if len(text) > limits.models_file_size_bytes_max:
        raise BadSetting(f"{source}: over {limits.models_file_size_bytes_max} bytes")
    try:
        document = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # TOML's and UTF-8's errors are ValueErrors
        raise BadSetting(f"{source}: {' '.join(str(error).split())}") from None
    for name, table in document.items():
        if name not in TABLES:
            raise unknown(f"key in {source}:", name, TABLES)
        if not isinstance(table, dict):
            raise BadSetting(f"{source} {name}: is not a table")
    return document


def _tables(document: Values, kind: str, source: str) -> Iterator[tuple[str, Values, str]]:
    """Name, table and place of each `[kind.NAME]`."""
    for name, table in document.get(kind, {}).items():
        _check_name(name, f"{source} [{kind}]")
        at = f"{source} [{kind}.{name}]"
        if not isinstance(table, dict):
            raise BadSetting(f"{at}: is not a table")
        yield name, table, at


def _aliases(document: Values, source: str) -> Iterator[tuple[str, str]]:
    at = f"{source} [aliases]"
    for name, target in document.get("aliases", {}).items():
        _check_name(name, at)
        _check_name(target, f"{at} {name}")
        yield name, target


def _versions(table: Values, at: str) -> Versions:
    weights = table.get("weights")
    entry = _entry(VersionsEntry, {key: value for key, value in table.items() if key != "weights"}, at)
    if not isinstance(weights, dict) or not weights:
        raise BadSetting(f"{at}: needs weights, MODEL = NUMBER")
    for name, weight in weights.items():
        _check_name(name, f"{at} weights")
        is_number = type(weight) in (int, float)
        if not is_number or not 0 <= weight < float("inf"):
            raise BadSetting(f"{at} weights {name}: {weight!r} is not a number from 0")
    if not any(weights.values()):
        raise BadSetting(f"{at}: all weights are 0")
    return Versions({name: float(w) for name, w in weights.items()}, entry.sticky == "tenant")


def _adapter(name: str, table: Values, at: str) -> AdapterEntry:
    entry = _entry(AdapterEntry, table, at)
    _check_name(entry.model, f"{at} model")
    return dataclasses.replace(entry, adapter=entry.adapter or name)


def _auto(table: Values, at: str) -> AutoEntry:
    entry = _entry(AutoEntry, table, at)
    _check_name(entry.small, f"{at} small")
    _check_name(entry.large, f"{at} large")
    return entry


def _files(table: Values, at: str) -> FilesEntry:
    entry = _entry(FilesEntry, table, at)
    if not entry.path:
        raise BadSetting(f"{at}: needs a path")
    return entry


def _entry(kind: type[T], table: Values, at: str) -> T:
    """A table as its class; an unknown key is an error that names the nearest known one."""
    known = {leaf.name: leaf for leaf in leaves(kind)}
    for key in table:
        if key not in known:
            raise unknown(f"key in {at}:", key, known)
    return kind(**{key: from_toml(known[key], value, f"{at} {key}") for key, value in table.items()})


def _check_name(name: object, at: str) -> None:
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise BadSetting(f"{at}: {name!r} is no name; letters, digits and ._:@/+- are")


def _check_unique(names: Names, source: str) -> None:
    seen: set[str] = set()
    for name in names.all():
        if name in seen:
            raise BadSetting(f"{source}: {name} stands for two things")
        if name == AUTO and names.auto is None:
            raise BadSetting(f"{source}: auto is a name of its own; its table is [auto]")
        seen.add(name)


def _check_ends(names: Names, source: str) -> None:
    """No name leads back to itself."""
    for name in names.all():
        reached: set[str] = set()
        open_names = list(names.next_of(name))
        while open_names:
            at = open_names.pop()
            if at == name:
                raise BadSetting(f"{source}: {name} stands for itself in the end")
            if at not in reached:
                reached.add(at)
                open_names += names.next_of(at)
