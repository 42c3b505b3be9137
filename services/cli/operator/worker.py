"""`pdmesh drain`, `undrain`, `standby`, `activate` and `role`: orders about one worker."""

from collections.abc import Callable

from pdmesh.operator.v1 import operator_pb2 as wire
from services.cli.operator.client import OperatorClient, Order
from services.cli.operator.command import Command, Options, argument
from services.common.domain import Role
from services.common.rpc.convert import wire_enum

WORKER = argument("worker", "Worker's name, as `pdmesh fleet` shows it")
ROLES = tuple(role.name.lower() for role in Role)


def _order(description: str, order: Callable[[str], Order], done: str) -> Command:
    async def act(client: OperatorClient, options: Options) -> int:
        await client.order(order(options["worker"]))
        print(f"{options['worker']} {done}")
        return 0

    return Command(description, act, [WORKER])


DRAIN = _order(
    "Give a worker no new work. What runs there ends by itself.",
    lambda name: wire.DrainRequest(worker_id=name),
    "drains; `pdmesh fleet` shows what still runs there",
)
UNDRAIN = _order(
    "Give a drained worker work again.",
    lambda name: wire.UndrainRequest(worker_id=name),
    "takes work again",
)
STANDBY = _order(
    "Keep a worker loaded and attached, without new work, as a warm spare.",
    lambda name: wire.StandByRequest(worker_id=name),
    "stands by; `pdmesh activate` gives it work",
)
ACTIVATE = _order(
    "Give a standby worker work; its model is loaded, so it serves at once.",
    lambda name: wire.ActivateRequest(worker_id=name),
    "takes work",
)


async def _set_role(client: OperatorClient, options: Options) -> int:
    role = Role[options["role"].upper()]
    await client.order(wire.SetRoleRequest(worker_id=options["worker"], role=wire_enum(role)))
    print(f"{options['worker']} takes the role {options['role']} as soon as it is empty")
    return 0


ROLE = Command(
    "Change a worker's role. It drains first, so that no request is lost.",
    _set_role,
    [WORKER, argument("role", f"The new one: {', '.join(ROLES)}", choices=ROLES, metavar="role")],
)
