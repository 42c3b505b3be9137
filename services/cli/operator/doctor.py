"""`pdmesh doctor`: is everything well, and if not, what to do."""

from collections.abc import Iterator

from pdmesh.operator.v1 import operator_pb2 as wire
from services.cli.operator.bottleneck import serves
from services.cli.operator.client import OperatorClient
from services.cli.operator.command import Command, Options
from services.cli.operator.finding import Finding, Verdict, note, well, wrong
from services.cli.operator.fleet import handoffs
from services.cli.operator.pairs import finding_of
from services.common.domain import Role


async def _examine(client: OperatorClient, _options: Options) -> int:
    findings = [await _router(client)]
    fleet = await client.fleet()
    pairs = sorted((await client.pairs()).pairs, key=lambda p: (p.prefill_worker, p.decode_worker))
    findings += [*of_fleet(fleet), *(finding_of(pair) for pair in pairs), *of_handoffs(fleet)]
    for finding in findings:
        print(finding)
    return 1 if any(finding.verdict is Verdict.WRONG for finding in findings) else 0


async def _router(client: OperatorClient) -> Finding:
    if await client.is_serving():
        return well(f"router {client.address} serves")
    return wrong(f"router {client.address} answers and does not serve", "it drains, or has not started yet")


def of_fleet(fleet: wire.DescribeFleetResponse) -> Iterator[Finding]:
    """Findings about workers, model by model."""
    if not fleet.workers:
        yield wrong("no worker is attached", "start workers with --routers set to this router")
    for model in sorted({w.model for w in fleet.workers}):
        workers = [w for w in fleet.workers if w.model == model]
        yield _of_model(model, workers)
    for worker in fleet.workers:
        if worker.state == "suspended":
            remedy = "see its log; it is tried again by itself, `pdmesh forgive` tries at once"
            yield wrong(f"{worker.worker_id} gets no work after failures", remedy)
    if fleet.quarantined_prompts:
        yield wrong(
            f"{fleet.quarantined_prompts} prompts are refused, workers died with them",
            "the router's --quarantine-dir has them; `pdmesh forgive` takes them again",
        )


def _of_model(model: str, workers: list[wire.WorkerStatus]) -> Finding:
    if any(w.embedding_dimensions for w in workers):
        return _of_pooling(model, workers)
    prefill, decode = (sum(serves(w, role) for w in workers) for role in (Role.PREFILL, Role.DECODE))
    text = f"{model}: {prefill} prefill and {decode} decode workers serve, of {len(workers)} attached"
    if not decode:
        return wrong(
            text, "without a decode worker every request is refused; `pdmesh fleet` tells what helps"
        )
    return well(text) if prefill else note(text, "every prompt takes the local path")


def _of_pooling(model: str, workers: list[wire.WorkerStatus]) -> Finding:
    serving = sum(serves(w, Role.PREFILL) for w in workers)
    size = workers[0].embedding_dimensions
    text = f"{model}: {serving} workers give vectors of {size} numbers, of {len(workers)} attached"
    return well(text) if serving else wrong(text, "`pdmesh fleet` tells what helps")


def of_handoffs(fleet: wire.DescribeFleetResponse) -> Iterator[Finding]:
    """Findings about KV that nobody owns."""
    if fleet.unreleased_handoffs:
        remedy = "the leases free it; if this stays, restart the prefill worker that holds it"
        yield wrong(f"KV of {fleet.unreleased_handoffs} handoffs is held for no request", remedy)
    elif fleet.expired_handoffs:
        remedy = "decode workers came too late or never; see their logs, then `pdmesh forgive`"
        yield wrong(f"{fleet.expired_handoffs} leases ran out before anybody took the KV", remedy)
    else:
        yield well(handoffs(fleet))


DOCTOR = Command(
    "Check router, workers, every prefill-decode pair, handed-over KV. Exit code 1: something is wrong.",
    _examine,
)
