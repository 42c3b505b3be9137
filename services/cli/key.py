"""`pdmesh key new`: an API key, shown once."""

from collections.abc import Sequence

from services.common.credentials import KeyRecord, new_key
from services.common.settings import StrictParser, parse_flags

DESCRIPTION = """\
Make an API key. It is shown this once: the tenants file keeps a hash, from which nobody can have it again."""


def run(arguments: Sequence[str]) -> int:
    """Print a new key and its record; raises `BadSetting`."""
    parser = StrictParser(prog="pdmesh key", usage="pdmesh key new [flags]", description=DESCRIPTION)
    parser.add_argument("action", choices=["new"], help="what to do")
    parse_flags(parser, arguments)
    key = new_key()
    print(f"key, shown only now:       {key}")
    print(f'line for the tenants file: keys = ["{KeyRecord.of(key)}"]')
    return 0
