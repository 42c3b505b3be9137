"""`pdmesh scaling`: how many workers each tier should have, and why."""

import json
from collections.abc import Iterator

from pdmesh.operator.v1 import operator_pb2 as wire
from services.cli.operator.client import OperatorClient
from services.cli.operator.command import Command, Options, argument
from services.cli.operator.plain import plain
from services.common.domain import Role

MINUTE_S, HOUR_S = 60.0, 3_600.0


async def _show(client: OperatorClient, options: Options) -> int:
    scaling = await client.scaling()
    print(json.dumps(plain(scaling)) if options["json"] else "\n".join(lines(scaling)), flush=True)
    return 0


def lines(scaling: wire.DescribeScalingResponse) -> Iterator[str]:
    """One line per tier, and one about who acts."""
    for tier in sorted(scaling.tiers, key=lambda tier: (tier.model, tier.role)):
        yield f"{tier.model} {Role(tier.role).name.lower()}: {_wanted(tier)}; {_changed(tier)}; {tier.why}"
    yield _who_acts(scaling)


def _wanted(tier: wire.TierScaling) -> str:
    spares = f" and {tier.desired_spares} spare" if tier.desired_spares else ""
    coming = f", {tier.coming_workers} coming" if tier.coming_workers else ""
    need = f"{tier.needed_workers:.1f} needed, {tier.least_workers} to {tier.most_workers} allowed"
    return f"{tier.desired_workers}{spares} wanted, {tier.serving_workers} serve{coming} ({need})"


def _changed(tier: wire.TierScaling) -> str:
    if tier.changed_s_ago < 0:
        return "never changed"
    return f"changed {_ago(tier.changed_s_ago)} ago"


def _ago(seconds: float) -> str:
    if seconds < MINUTE_S:
        return f"{seconds:.0f} s"
    return f"{seconds / MINUTE_S:.0f} min" if seconds < HOUR_S else f"{seconds / HOUR_S:.0f} h"


def _who_acts(scaling: wire.DescribeScalingResponse) -> str:
    if not scaling.tiers:
        return "no worker has ever attached, so there is nothing to scale"
    if not scaling.acts:
        return "advice only: the router runs without --autoscale"
    if not scaling.decider:
        return "no router decides at the moment, so all stays as it is"
    who = f"{scaling.decider} decides; "
    if not scaling.watchers:
        return who + "spares are activated and roles flipped; nobody starts and ends workers by these numbers"
    return who + "workers are started and ended by these numbers"


SCALING = Command(
    "Show how many workers each tier should have and has, and the reason, one line per tier.",
    _show,
    [argument("--json", "Print everything as one JSON object", action="store_true")],
)
