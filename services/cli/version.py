"""`pdmesh version`."""

from collections.abc import Sequence
from importlib import metadata

from services.common.settings import StrictParser, parse_flags


def version() -> str:
    """The installed distribution's version, or "0+source" when run from a checkout that is not installed."""
    try:
        return metadata.version("pdmesh")
    except metadata.PackageNotFoundError:
        return "0+source"


def run(arguments: Sequence[str]) -> int:
    """Print name and version."""
    parse_flags(StrictParser(prog="pdmesh version", description="Print the version."), arguments)
    print(f"pdmesh {version()}")
    return 0
