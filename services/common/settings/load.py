"""Putting a settings object together: defaults, then the file, then the environment, then flags."""

import dataclasses
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from services.common.errors import BadSetting
from services.common.settings.leaf import Leaf, leaves
from services.common.settings.nearest import unknown
from services.common.settings.value import checked, from_text, from_toml

SERVICES = (
    "gateway",
    "router",
    "prefill",
    "decode",
    "retriever",
    "up",
    "chat",
    "demo",
    "ingest",
    "usage",
    "operator",
    "simulate",
    "plan",
    "calibrate",
    "advise",
)
"""Names that may stand in `PDMESH_<SERVICE>_...` and as a table in a configuration file."""
CONFIG_VARIABLE = "PDMESH_CONFIG"
"""Names the configuration file where no flag does."""

# What Kubernetes tells every container about a service, as if it were a link of Docker's.
SERVICE_LINK_NAME = re.compile(
    r"_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$"
)
SERVICE_LINK_PORTS = ("tcp://", "udp://", "sctp://")

T = TypeVar("T")
Values = dict[str, Any]


def load(
    cls: type[T],
    *,
    service: str,
    flags: Mapping[str, str | bool | list[str]],
    environ: Mapping[str, str],
    file: Path | None,
) -> T:
    """The settings of one service; raises `BadSetting` with one line that names the source at fault.

    `flags` holds only the flags that were given, by setting name: text, True/False for booleans, a list
    of texts for repeatable ones.
    """
    known = {leaf.name: leaf for leaf in leaves(cls)}
    values = from_file(known, service, file) if file else {}
    values |= _from_environ(known, service, environ)
    values |= _from_flags(known, flags)
    values |= _from_secret_files(known, values)
    try:
        return _build(cls, values)
    except ValueError as error:  # a Settings class's own __post_init__
        raise BadSetting(f"{service}: {error}") from error


def from_file(known: Mapping[str, Leaf], service: str, file: Path) -> Values:
    """The values of the file's `[<service>]` table; other services' tables are not looked into."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSetting(f"configuration file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"configuration file {file}: {error}") from None
    for name, table in tables.items():
        if name not in SERVICES or not isinstance(table, dict):
            raise unknown(f"table in {file}:", name, SERVICES)
    values: Values = {}
    for key, value in tables.get(service, {}).items():
        if key not in known:
            raise unknown(f"key in {file} [{service}]:", key, known)
        values[key] = from_toml(known[key], value, f"{file} [{service}] {key}")
    return values


def _from_environ(known: Mapping[str, Leaf], service: str, environ: Mapping[str, str]) -> Values:
    variables = {leaf.variable(service): leaf for leaf in known.values()}
    values: Values = {}
    for name, text in environ.items():
        if not name.startswith("PDMESH_") or name == CONFIG_VARIABLE or _is_service_link(name, text):
            continue
        if name in variables:
            values[variables[name].name] = from_text(variables[name], text, name)
        elif _service_of(name) in (service, None):
            raise unknown("variable", name, variables)
    return values


def _is_service_link(name: str, text: str) -> bool:
    """Whether Kubernetes has set this variable for a service whose name begins with `pdmesh`."""
    is_port = name.endswith("_PORT") and text.startswith(SERVICE_LINK_PORTS)
    return is_port or SERVICE_LINK_NAME.search(name) is not None


def _service_of(variable: str) -> str | None:
    """The service whose variable this is, by its prefix."""
    return next((name for name in SERVICES if variable.startswith(f"PDMESH_{name.upper()}_")), None)


def _from_flags(known: Mapping[str, Leaf], flags: Mapping[str, str | bool | list[str]]) -> Values:
    values: Values = {}
    for name, given in flags.items():
        if name not in known:
            raise unknown("flag", "--" + name.replace("_", "-"), [leaf.flag for leaf in known.values()])
        leaf = known[name]
        if isinstance(given, str):
            values[name] = from_text(leaf, given, leaf.flag)
        else:
            values[name] = checked(leaf, tuple(given) if isinstance(given, list) else given, leaf.flag)
    return values


def _from_secret_files(known: Mapping[str, Leaf], values: Values) -> Values:
    """The values that files hold; a value that is given beside its file is ambiguous."""
    found: Values = {}
    for leaf in known.values():
        if leaf.of_file and (path := values.get(leaf.name)):
            if values.get(leaf.of_file):
                raise BadSetting(f"{known[leaf.of_file].flag} and {leaf.flag}: one of them")
            found[leaf.of_file] = _secret_in(path, leaf)
    return found


def _secret_in(path: str, leaf: Leaf) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadSetting(f"{leaf.flag}: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadSetting(f"{leaf.flag}: {path} is no text") from None
    if not text:
        raise BadSetting(f"{leaf.flag}: {path} is empty")
    return text


def _build(cls: type[T], values: Values, prefix: str = "") -> T:
    """The settings object, groups inside out; what `values` lacks keeps its default."""
    hints = typing.get_type_hints(cls)
    arguments: Values = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if "prefix" in field.metadata:
            arguments[field.name] = _build(hints[field.name], values, prefix + field.metadata["prefix"])
        elif prefix + field.name in values:
            arguments[field.name] = values[prefix + field.name]
    return cls(**arguments)
