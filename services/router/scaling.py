"""What the scaler has decided, as operators and supervisors are told."""

import asyncio
from collections.abc import AsyncGenerator

from pdmesh.operator.v1 import operator_pb2
from services.common.clock import Clock
from services.common.domain import Role
from services.common.rpc.convert import wire_enum
from services.router.core.events import ScalerAttached, ScalerDetached
from services.router.core.scaling.scaling import Scaling, Watched
from services.router.shell import Shell

WATCH_POLL_S = 0.1
"""How late a watcher hears of a change, at most."""
REPEAT_MS = 1_000.0
"""Without a change it is told the same again after this."""


def describe(scaling: Scaling, router_id: str, now_ms: float) -> operator_pb2.DescribeScalingResponse:
    """All tiers, and who decides on them."""
    other = None if scaling.peers.is_blind(now_ms) else scaling.peers.decider
    decider = router_id if scaling.decides(now_ms) else other.router_id if other is not None else ""
    return operator_pb2.DescribeScalingResponse(
        tiers=tier_scalings(scaling, now_ms),
        acts=scaling.config.acts,
        watchers=len(scaling.drivers),
        decider=decider,
    )


async def watch(shell: Shell, clock: Clock) -> AsyncGenerator[operator_pb2.WatchScalingResponse, None]:
    """At once and at each change. Meanwhile the caller counts as who starts and ends workers."""
    session = shell.new_session()
    shell.feed(ScalerAttached(session))
    told, told_ms = operator_pb2.WatchScalingResponse(), float("-inf")
    try:
        while True:
            now_ms = clock.now_ms()
            news = _news(shell, now_ms)
            if news != told or now_ms - told_ms >= REPEAT_MS:
                told, told_ms = news, now_ms
                yield news
            await asyncio.sleep(WATCH_POLL_S)
    finally:
        shell.feed(ScalerDetached(session))


def _news(shell: Shell, now_ms: float) -> operator_pb2.WatchScalingResponse:
    """Without ages, measurements and words, which always change."""
    scaling, workers = shell.core.scaling, shell.core.state.fleet.workers.values()
    tiers = tier_scalings(scaling, now_ms)
    for tier in tiers:
        for moving in ("changed_s_ago", "needed_workers", "cold_start_ms", "why"):
            tier.ClearField(moving)
    stoppable = sorted(worker.worker_id for worker in scaling.stoppable())
    known = sorted(worker.worker_id for worker in workers)
    return operator_pb2.WatchScalingResponse(
        tiers=tiers,
        stoppable_workers=stoppable,
        known_workers=known,
        follows=not scaling.decides(now_ms),
    )


def tier_scalings(scaling: Scaling, now_ms: float) -> list[operator_pb2.TierScaling]:
    """Each tier that has been judged."""
    told = (_tier(scaling, model, tier, watched, now_ms) for (model, tier), watched in scaling.tiers.items())
    return [tier for tier in told if tier is not None]


def _tier(
    scaling: Scaling, model: str, tier: Role, watched: Watched, now_ms: float
) -> operator_pb2.TierScaling | None:
    decision, signal, rules = watched.decision, watched.signal, watched.scaler.rules
    if decision is None:
        return None
    changed_ms = decision.changed_ms
    return operator_pb2.TierScaling(
        model=model,
        role=wire_enum(tier),
        desired_workers=decision.desired,
        desired_spares=decision.spares,
        serving_workers=signal.serving,
        idle_workers=signal.at_hand,
        attached_workers=scaling.attached(model, tier),
        coming_workers=decision.coming,
        needed_workers=decision.need,
        why=decision.why,
        cold_start_ms=decision.cold_start_ms,
        changed_s_ago=-1.0 if changed_ms is None else (now_ms - changed_ms) / 1e3,
        least_workers=rules.replicas_min,
        most_workers=rules.replicas_max,
    )
