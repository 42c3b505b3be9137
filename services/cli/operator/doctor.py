"""`pdmesh doctor`: is everything well, and if not, what to do."""

from collections.abc import Iterator

from pdmesh.operator.v1 import operator_pb2 as wire
from services.cli.operator.client import OperatorClient
from services.cli.operator.command import Command, Options
from services.cli.operator.finding import Finding, Verdict, found, note, well, wrong
from services.cli.operator.fleet import handoffs
from services.cli.operator.pairs import finding_of
from services.common.domain import Role

OF_PAIRS = ("pair_held", "pair_refused", "pair_suspended")
"""Findings that each pair's own line tells in full."""
OF_HANDOFFS = ("handoffs_unreleased", "handoffs_expired")


async def _examine(client: OperatorClient, _options: Options) -> int:
    findings = [await _router(client)]
    fleet = await client.fleet()
    pairs = sorted((await client.pairs()).pairs, key=lambda p: (p.prefill_worker, p.decode_worker))
    findings += [*of_fleet(fleet), *(finding_of(pair) for pair in pairs)]
    for finding in findings:
        print(finding)
    return 1 if any(finding.verdict is Verdict.WRONG for finding in findings) else 0


async def _router(client: OperatorClient) -> Finding:
    if await client.is_serving():
        return well(f"router {client.address} serves")
    return wrong(f"router {client.address} answers and does not serve", "it drains, or has not started yet")


def of_fleet(fleet: wire.DescribeFleetResponse) -> Iterator[Finding]:
    """What serves, model by model, and the router's verdict."""
    for model in sorted({w.model for w in fleet.workers}):
        yield _of_model(model, fleet)
    for told in fleet.findings:
        if told.kind not in OF_PAIRS:
            yield found(told)
    if not any(told.kind in OF_HANDOFFS for told in fleet.findings):
        yield well(handoffs(fleet))


def _of_model(model: str, fleet: wire.DescribeFleetResponse) -> Finding:
    attached = [worker for worker in fleet.workers if worker.model == model]
    serving = {Role(tier.role): tier.serving_workers for tier in fleet.tiers if tier.model == model}
    prefill, decode = serving.get(Role.PREFILL, 0), serving.get(Role.DECODE, 0)
    if dimensions := attached[0].embedding_dimensions:
        text = f"{prefill} workers give vectors of {dimensions} numbers, of {len(attached)} attached"
        return well(f"{model}: {text}")
    text = f"{model}: {prefill} prefill and {decode} decode workers serve, of {len(attached)} attached"
    return well(text) if prefill else note(text, "every prompt takes the local path")


DOCTOR = Command(
    "Check router, workers, every prefill-decode pair, handed-over KV. Exit code 1: something is wrong.",
    _examine,
)
