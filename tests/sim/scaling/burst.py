"""A burst of four times the streams, with and without autoscaling, through the real core in virtual time."""

from collections.abc import Sequence
from functools import partial

from services.common.domain import FinishReason, Role
from services.router.core import CoreConfig
from services.router.core.scaling.rules import ScalingConfig, TierRules
from tests.sim.scaling.mesh import Asked, EngineShape, VirtualMesh

QUIET_STREAMS, BURST_STREAMS = 50, 200
QUIET_MS = 10_000.0
ANSWER_MS = 3_400.0
SPARES = 3
RULES = TierRules(
    replicas_max=4, spares=SPARES, target_wait_ms=200.0, cold_start_ms=8_000.0, rate_window_ms=2_000.0
)
PROMISED_MS = {"ttft_ms": 600.0, "tpot_ms": 40.0, "e2e_ms": 4_000.0}
"""For 95 of 100 requests of 500 tokens in, 200 out."""


def play(
    burst_ms: float, *, autoscales: bool, rules: TierRules = RULES, after_ms: float = 0.0
) -> VirtualMesh:
    """50 streams, 200 for so long, 50 again; the new ones begin evenly spread over one answer's time."""
    scaling = ScalingConfig(prefill=rules, decode=rules, acts=autoscales, rebalances=False)
    mesh = VirtualMesh(CoreConfig(scaling=scaling), EngineShape())
    for role in (Role.PREFILL, Role.DECODE):
        mesh.add(role)
        for _ in range(rules.spares if autoscales else 0):
            mesh.add(role, standby=True)
    if autoscales:
        mesh.supervise()
    mesh.clients(QUIET_STREAMS, QUIET_MS + burst_ms + after_ms, ANSWER_MS)
    mesh.run(QUIET_MS)
    mesh.clients(BURST_STREAMS - QUIET_STREAMS, QUIET_MS + burst_ms, ANSWER_MS)
    mesh.run(burst_ms + after_ms)
    mesh.run(60_000.0)
    return mesh


TRACE_SHAPE = EngineShape(prefill_tokens_per_ms=4.0, seats=12, cold_start_ms=30_000.0)
"""Engines small enough that five requests a second need several."""
TRACE_RULES = TierRules(replicas_max=10, spares=1, target_wait_ms=200.0, cold_start_ms=30_000.0)


def play_trace(arrivals: Sequence[tuple[float, int, int]]) -> VirtualMesh:
    """Requests at their times, as milliseconds, prompt tokens and answer tokens, with autoscaling."""
    scaling = ScalingConfig(prefill=TRACE_RULES, decode=TRACE_RULES, acts=True, rebalances=False)
    mesh = VirtualMesh(CoreConfig(scaling=scaling), TRACE_SHAPE)
    for role in (Role.PREFILL, Role.DECODE):
        mesh.add(role)
        mesh.add(role, standby=True)
    mesh.supervise()
    for at_ms, prompt, answer in arrivals:
        mesh.at(at_ms, partial(mesh.ask, prompt, answer, lambda: None))
    mesh.run(arrivals[-1][0] + 60_000.0)
    return mesh


def of_burst(mesh: VirtualMesh, burst_ms: float) -> list[Asked]:
    """The requests that began while it lasted."""
    return [asked for asked in mesh.asked if QUIET_MS <= asked.began_ms < QUIET_MS + burst_ms]


def p95(asked: Sequence[Asked], name: str) -> float:
    """Of all; those that failed count as endless."""
    whole = FinishReason.LENGTH
    times = sorted(getattr(a, name) if a.end is whole else float("inf") for a in asked)
    return times[int(0.95 * len(times))]
