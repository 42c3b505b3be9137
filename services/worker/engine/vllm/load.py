"""What the engine holds at the moment, from vLLM's scheduler statistics."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from services.common.domain import JobKind, LoadReport
from services.common.limits import DEFAULTS
from services.worker.engine.vllm.jobs import LiveJob

_INTERVAL_S = DEFAULTS.heartbeat_interval_ms / 1_000


@dataclass(slots=True)
class LoadMeter:
    """Follows the engine's steps; the mean step covers the last whole interval in which there were steps."""

    kv_blocks_total: int
    running: int = 0
    kv_blocks_free: int = -1
    step_ms: float = 0.0
    _last_step_at: float = 0.0
    _interval_began_at: float = 0.0
    _sum_ms: float = 0.0
    _steps: int = 0

    def on_step(self, outputs: Any) -> None:
        """Take in one step: its statistics, and the time since the one before if the engine was busy."""
        stats, now = outputs.scheduler_stats, outputs.timestamp
        if stats is None:
            return
        if self.running and outputs.outputs:
            self._sum_ms += (now - self._last_step_at) * 1_000
            self._steps += 1
        self._last_step_at = now
        self.running = stats.num_running_reqs
        self.kv_blocks_free = round((1.0 - stats.kv_cache_usage) * self.kv_blocks_total)
        if now - self._interval_began_at >= _INTERVAL_S and self._steps:
            self.step_ms = self._sum_ms / self._steps
            self._sum_ms, self._steps, self._interval_began_at = 0.0, 0, now

    def report(self, live: Iterable[LiveJob]) -> LoadReport:
        """The present load; waiting is all that vLLM does not run yet."""
        jobs = list(live)
        running = min(self.running, len(jobs))
        free = self.kv_blocks_total if self.kv_blocks_free < 0 else self.kv_blocks_free
        return LoadReport(
            running_requests=running,
            waiting_requests=len(jobs) - running,
            kv_blocks_free=free,
            kv_blocks_total=self.kv_blocks_total,
            step_ms=self.step_ms,
            queued_prefill_tokens=sum(
                one.text_tokens for one in jobs if not one.started and one.job.kind is not JobKind.ADOPT
            ),
        )
