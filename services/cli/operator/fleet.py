"""`pdmesh fleet`: workers, queues, the bottleneck, handoffs."""

import asyncio
import json
import sys

from pdmesh.operator.v1 import operator_pb2 as wire
from services.cli.operator.client import OperatorClient
from services.cli.operator.command import Command, Options, argument
from services.cli.operator.finding import found
from services.cli.operator.plain import plain
from services.cli.table import table
from services.common.domain import Role

WATCH_S = 1.0
CLEAR = "\x1b[H\x1b[J"
WORKER_HEAD = (
    *("worker", "model", "role", "state", "running"),
    *("KV blocks", "of", "prefill tokens queued", "step ms"),
)
TIER_HEAD = (
    *("tier", "model", "queued", "oldest s", "tokens queued", "in engines", "wait s"),
    *("serve", "wanted", "spares"),
)
ROUTER_HEAD = ("router", "in flight", "tier", "model", "requests queued", "tokens queued", "oldest s", "of s")


async def _show(client: OperatorClient, options: Options) -> int:
    while True:
        fleet = await client.fleet()
        text = json.dumps(plain(fleet)) if options["json"] else "\n".join(lines(fleet))
        print(f"{CLEAR if options['watch'] and sys.stdout.isatty() else ''}{text}", flush=True)
        if not options["watch"]:
            return 0
        await asyncio.sleep(WATCH_S)


def lines(fleet: wire.DescribeFleetResponse) -> list[str]:
    """The whole picture."""
    workers = [_worker_row(w) for w in sorted(fleet.workers, key=lambda w: (w.model, w.role, w.worker_id))]
    tiers = [
        (
            *(Role(t.role).name.lower(), t.model, t.queued_requests, round(t.oldest_wait_ms / 1e3, 1)),
            *(t.queued_tokens, t.engine_tokens, round(t.prefill_wait_ms / 1e3, 1)),
            *(t.serving_workers, t.desired_workers, t.desired_spares),
        )
        for t in sorted(fleet.tiers, key=lambda t: (t.model, t.role))
    ]
    return [
        *([*table(WORKER_HEAD, workers), ""] if workers else []),
        *([*table(TIER_HEAD, tiers), ""] if tiers else []),
        *([*table(ROUTER_HEAD, _router_rows(fleet)), ""] if len(fleet.routers) > 1 else []),
        *advice(fleet),
        f"{fleet.open_requests} requests in flight; {handoffs(fleet)}",
    ]


def advice(fleet: wire.DescribeFleetResponse) -> list[str]:
    """The router's verdict, most urgent first: what is wrong, and what helps."""
    told = [found(finding) for finding in fleet.findings]
    unwell = {finding.model for finding in fleet.findings}
    models = sorted({worker.model for worker in fleet.workers} - unwell)
    return [
        *(f"{finding.text}: {finding.remedy}" for finding in told),
        *(f"{model}: nothing waits" for model in models),
    ]


def handoffs(fleet: wire.DescribeFleetResponse) -> str:
    """Open handoffs and what they hold."""
    stranded = f"{fleet.stranded_block_seconds:.1f} KV block-seconds stranded"
    return f"{fleet.open_handoffs} handoffs open, {stranded}, {fleet.expired_handoffs} leases expired"


def _router_rows(fleet: wire.DescribeFleetResponse) -> list[tuple[object, ...]]:
    """Who waits where, and how much of the time allowed is used up."""
    return [
        (
            *(router.router_id, router.open_requests, Role(queue.role).name.lower(), queue.model),
            *(queue.requests, queue.tokens),
            *(round(queue.oldest_wait_ms / 1e3, 1), round(queue.wait_ms_max / 1e3, 1)),
        )
        for router in fleet.routers
        for queue in router.queues
    ]


def _worker_row(worker: wire.WorkerStatus) -> tuple[object, ...]:
    return (
        worker.worker_id,
        worker.model,
        Role(worker.role).name.lower(),
        worker.state,
        worker.running_requests,
        worker.kv_blocks_reserved,
        worker.kv_blocks_total,
        worker.queued_prefill_tokens,
        round(worker.step_ms, 1),
    )


FLEET = Command(
    "Show workers, queues, the bottleneck and what to do about it, and open handoffs.",
    _show,
    [
        argument("--json", "Print everything as one JSON object", action="store_true"),
        argument("--watch", "Show it again every second, until Ctrl-C", action="store_true"),
    ],
)
