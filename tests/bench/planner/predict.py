"""Published measurements beside what a simulated engine says of the same load."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from services.planner.hardware.engine_spec import EngineSpec
from services.planner.hardware.gpu import GPUS
from services.planner.hardware.model import model_of
from services.planner.hardware.precision import Precision
from services.planner.load.lengths import Drawn
from services.planner.load.sources import ClosedLoop
from services.planner.silicon import Point
from services.planner.timing.host import VLLM
from services.planner.timing.measured import measured
from services.planner.world.engine import EngineLimits
from services.planner.world.single import SingleEngine
from services.worker.engine.sim.step_times import Host, StepTimes

REQUESTS_EACH = 10
"""Requests of a run, by its clients: what vLLM's serving benchmark is told in published runs."""
SPREAD = "uniform"
"""Lengths are drawn evenly from 80 to 100 % of those stated, as that benchmark is told."""
BATCHED_TOKENS, RUNNING = 8_192, 1_024
SEEDS = (1, 2, 3)
KV_OUT_MS = 5_000.0
"""A mean TTFT above it means that requests waited for KV blocks, not for their prompts."""


@dataclass(frozen=True)
class Predicted:
    """A point, and means over the seeds."""

    point: Point
    ttft_ms: float
    tpot_ms: float
    preemptions: float

    @property
    def ttft_error(self) -> float:
        """Relative."""
        return self.ttft_ms / self.point.ttft_ms - 1

    @property
    def tpot_error(self) -> float:
        """Relative."""
        return self.tpot_ms / self.point.tpot_ms - 1

    @property
    def ran_out(self) -> bool:
        """Whether the measured engine ran out of KV."""
        return self.point.ttft_ms > KV_OUT_MS

    @property
    def is_seen_to_run_out(self) -> bool:
        """Whether the simulated one did."""
        return self.ttft_ms > KV_OUT_MS


@cache
def kernels(
    model: str, system: str, precision: str, size: int, kv: Precision
) -> tuple[EngineSpec, StepTimes]:
    """An engine's spec and its kernels' times, without the host's."""
    gpu = next(gpu for gpu in GPUS.values() if gpu.tables == system)
    weights = Precision.FP8 if precision == "fp8" else Precision.BF16
    spec = EngineSpec(model_of(model), gpu, size, weights, kv)
    return spec, measured(spec)


def predict(
    point: Point,
    kv: Precision = Precision.BF16,
    host: Host = VLLM,
    seeds: Sequence[int] = SEEDS,
    spread: str = SPREAD,
) -> Predicted:
    """The point's load on a simulated engine."""
    spec, plain = kernels(point.model, point.system, point.precision, point.tensor_parallel, kv)
    times = plain.with_host(host)
    limits = EngineLimits(spec.kv_blocks, running_max=RUNNING, batched_tokens_max=BATCHED_TOKENS)
    ttft_ms = tpot_ms = preemptions = 0.0
    for seed in seeds:
        world = SingleEngine(times, limits, seed=seed)
        lengths = Drawn(point.prompt_tokens, point.output_tokens, spread)
        tally = world.play(ClosedLoop(lengths, point.clients, REQUESTS_EACH))
        ttft_ms += tally.ttft_ms.mean / len(seeds)
        tpot_ms += tally.tpot_ms.mean / len(seeds)
        preemptions += world.engine.meter.preemptions / len(seeds)
    return Predicted(point, ttft_ms, tpot_ms, preemptions)


def mean_errors(rows: Sequence[Predicted]) -> tuple[float, float]:
    """Mean absolute relative errors of TTFT and TPOT over the rows that did not run out of KV."""
    usual = [row for row in rows if not row.ran_out]
    number = len(usual) or 1
    return (
        sum(abs(row.ttft_error) for row in usual) / number,
        sum(abs(row.tpot_error) for row in usual) / number,
    )
