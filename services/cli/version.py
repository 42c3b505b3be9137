"""`pdmesh version`."""

from collections.abc import Sequence

from services.common.settings import StrictParser, parse_flags
from services.common.version import VERSION


def run(arguments: Sequence[str]) -> int:
    """Print name and version."""
    parse_flags(StrictParser(prog="pdmesh version", description="Print the version."), arguments)
    print(f"pdmesh {VERSION}")
    return 0
