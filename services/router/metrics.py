"""The router's Prometheus metrics."""

from prometheus_client import CollectorRegistry

from services.common.domain import PATH_NAMES, FinishReason
from services.common.telemetry.tallies import Counter, Histogram
from services.router.core.actions import EndStream, SendPlaced

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PHASES = ("queue", "prefill", "handoff", "decode")
_OUTCOMES = {reason: reason.name.lower() for reason in FinishReason}


class Metrics:
    """Counters and histograms of what the core decided."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.tokens = Counter("pdmesh_router_tokens", "Tokens sent to gateways", registry=registry).labels()
        self._placed = Counter(
            "pdmesh_router_placements", "Placements by path and reason", ["path", "reason"], registry=registry
        )
        self._ended = Counter(
            "pdmesh_router_requests",
            "Requests by outcome and error reason",
            ["outcome", "reason"],
            registry=registry,
        )
        self._retries = Counter(
            "pdmesh_router_retries", "Placements after a failure", registry=registry
        ).labels()
        phase = Histogram(
            "pdmesh_router_phase_seconds",
            "Time of a request in each phase",
            ["phase"],
            buckets=SECONDS,
            registry=registry,
        )
        self._queue, self._prefill, self._handoff, self._decode = map(phase.labels, PHASES)

    def count(self, action: SendPlaced | EndStream) -> None:
        """Count a placement or an outcome. Reasons come from fixed tables, so the labels are bounded."""
        if isinstance(action, SendPlaced):
            self._placed.labels(PATH_NAMES[action.path], action.path_reason).inc()
            return
        reason = action.error.reason if action.error is not None else ""
        self._ended.labels(_OUTCOMES[action.reason], reason).inc()
        receipt = action.receipt
        self._retries.inc(receipt.retries)
        self._queue.observe(receipt.queue_ms / 1000.0)
        self._prefill.observe(receipt.prefill_ms / 1000.0)
        self._handoff.observe(receipt.handoff_ms / 1000.0)
        self._decode.observe(receipt.decode_ms / 1000.0)
