"""The table of the operator's commands, and running one."""

import asyncio
import sys
from collections.abc import Sequence

from services.cli import configuration
from services.cli.mesh_secret import security_for
from services.cli.operator.client import OperatorClient
from services.cli.operator.command import Command, Options
from services.cli.operator.doctor import DOCTOR
from services.cli.operator.dry_run import DRY_RUN
from services.cli.operator.fleet import FLEET
from services.cli.operator.policy import FORGIVE, THRESHOLD
from services.cli.operator.scaling import SCALING
from services.cli.operator.settings import OperatorSettings
from services.cli.operator.worker import ACTIVATE, DRAIN, ROLE, STANDBY, UNDRAIN
from services.common.errors import MeshError, RouterUnavailable, Startup
from services.common.settings import StrictParser

COMMANDS = {
    "fleet": FLEET,
    "scaling": SCALING,
    "doctor": DOCTOR,
    "drain": DRAIN,
    "undrain": UNDRAIN,
    "standby": STANDBY,
    "activate": ACTIVATE,
    "role": ROLE,
    "threshold": THRESHOLD,
    "dry-run": DRY_RUN,
    "forgive": FORGIVE,
}


def run(name: str, arguments: Sequence[str]) -> int:
    """Run one; 0, or 1 for a refusal or a finding, or 2 when no router answers. Raises `BadSetting`."""
    settings, options = configuration.read(parser_of(name), OperatorSettings, "operator", arguments)
    try:
        return asyncio.run(_act(COMMANDS[name], settings, options))
    except Startup:  # a bad setting
        raise
    except MeshError as error:
        print(f"pdmesh: {error.reason}: {error.message}{_retry(error)}", file=sys.stderr)
        return 2 if isinstance(error, RouterUnavailable) else 1


def parser_of(name: str) -> StrictParser:
    """The command's parser, without the settings that all have in common."""
    command = COMMANDS[name]
    places = [a.name.upper() for a in command.arguments if not a.name.startswith("-")]
    usage = " ".join(["pdmesh", name, *places, "[flags]"])
    parser = StrictParser(prog=f"pdmesh {name}", usage=usage, description=command.description)
    for each in command.arguments:
        parser.add_argument(each.name, help=each.help_text, **each.options)
    return parser


async def _act(command: Command, settings: OperatorSettings, options: Options) -> int:
    address = settings.address()
    security = security_for(settings.mesh, address)
    async with OperatorClient(address, settings.timeout_ms, security) as client:
        return await command.act(client, options)


def _retry(error: MeshError) -> str:
    wait_ms = None if isinstance(error, RouterUnavailable) else error.retry_after_ms
    return f"; possible in {wait_ms / 1e3:.0f} s" if wait_ms else ""
