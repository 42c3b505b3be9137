"""`pdmesh key`: an API key, shown once, or a secret for a mesh, in a file."""

from collections.abc import Sequence
from pathlib import Path

from services.cli.mesh_secret import new_secret
from services.common.credentials import KeyRecord, new_key
from services.common.errors import BadSetting
from services.common.files import write_private
from services.common.settings import StrictParser, parse_flags

DESCRIPTION = """\
new: make an API key. It is shown this once: the tenants file keeps a hash, from which it cannot be had again.
secret: make a secret for the processes of a mesh (--mesh-secret-file), in a file that only its owner reads; a
file that is there already is kept."""


def run(arguments: Sequence[str]) -> int:
    """Make a new key or secret; raises `BadSetting`."""
    usage = "pdmesh key new | pdmesh key secret FILE"
    parser = StrictParser(prog="pdmesh key", usage=usage, description=DESCRIPTION)
    parser.add_argument("action", choices=["new", "secret"], help="what to make")
    parser.add_argument("file", nargs="?", default="", help="where the secret goes")
    given = parse_flags(parser, arguments)
    if bool(given["file"]) != (given["action"] == "secret"):
        raise BadSetting(f"usage: {usage}")
    if given["file"]:
        return _make_secret(Path(given["file"]))
    key = new_key()
    print(f"key, shown only now:       {key}")
    print(f'line for the tenants file: keys = ["{KeyRecord.of(key)}"]')
    return 0


def _make_secret(file: Path) -> int:
    try:
        write_private(file, new_secret() + "\n")
    except FileExistsError:
        print(f"{file} is there already")
    except OSError as error:
        raise BadSetting(f"{file}: {error.strerror}") from None
    else:
        print(f"{file}: a new secret")
    return 0
