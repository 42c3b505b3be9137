"""How many workers a load needs, roughly: by times of steps and Little's law, without queues or chance."""

import math
from dataclasses import dataclass

from services.planner.planning.target import MARGIN, Target
from services.worker.engine.sim.step_times import StepTimes

PREFILL_OCCUPANCY = 0.75
"""Share of a prefill worker's time that prompts may take before they wait for each other too long."""
DECODE_OCCUPANCY = 0.9
RUNNING_MAX = 512


@dataclass(frozen=True, slots=True)
class Decoding:
    """A decode worker at the largest batch that keeps its promise."""

    running: int
    step_ms: float

    def requests_per_s(self, output_tokens: float) -> float:
        """What it takes."""
        return self.running / (output_tokens * self.step_ms) * 1e3


def prefill_workers(target: Target, times: StepTimes, batched_tokens_max: int) -> int:
    """At least one."""
    prompt_ms = times.prefill_ms(int(target.load.prompt_tokens), batched_tokens_max)
    return max(1, math.ceil(target.rate_per_s * prompt_ms / 1e3 / PREFILL_OCCUPANCY))


def largest_batch(target: Target, times: StepTimes, kv_tokens: int) -> Decoding | None:
    """None where even one sequence alone is too slow, or does not fit."""
    bound_ms = target.step_ms_max * MARGIN
    room = int(kv_tokens / (target.load.prompt_tokens + target.load.output_tokens))
    low, high = 0, min(RUNNING_MAX, room)
    while low < high:
        middle = (low + high + 1) // 2
        if times.decode_ms(middle, target.context_tokens) <= bound_ms:
            low = middle
        else:
            high = middle - 1
    return Decoding(low, times.decode_ms(low, target.context_tokens)) if low else None


def decode_workers(target: Target, decoding: Decoding) -> int:
    """At least one."""
    per_worker = decoding.requests_per_s(target.load.output_tokens) * DECODE_OCCUPANCY
    return max(1, math.ceil(target.rate_per_s / per_worker))


def aggregated_workers(
    target: Target, times: StepTimes, batched_tokens_max: int, kv_tokens: int
) -> int | None:
    """Engines that run prompts beside what decodes; None where one request alone is too slow.

    At r requests a second a worker spends r x prompt_ms of each second on prompts, and a token takes
    step_ms / (1 - r x prompt_ms) on average, for the r x tokens x that time sequences that run by then.
    """
    prompt_ms = times.prefill_ms(int(target.load.prompt_tokens), batched_tokens_max)
    low, high = 0.0, 1e3 / prompt_ms
    for _ in range(40):
        rate = (low + high) / 2
        if _keeps(target, times, rate, prompt_ms, kv_tokens):
            low = rate
        else:
            high = rate
    return max(1, math.ceil(target.rate_per_s / low / DECODE_OCCUPANCY)) if low > 1e-6 else None


def _keeps(target: Target, times: StepTimes, rate_per_s: float, prompt_ms: float, kv_tokens: int) -> bool:
    left = 1.0 - rate_per_s * prompt_ms / 1e3
    if left <= 0.02:
        return False
    token_ms, output = times.decode_ms(1, target.context_tokens) / left, target.load.output_tokens
    for _ in range(30):
        running = max(1.0, rate_per_s * output * token_ms / 1e3)
        if running > RUNNING_MAX or running * target.context_tokens > kv_tokens:
            return False
        next_ms = times.decode_ms(math.ceil(running), target.context_tokens) / left
        if next_ms > target.step_ms_max * MARGIN:
            return False
        if abs(next_ms - token_ms) < 1e-3 * token_ms:
            break
        token_ms = next_ms
    return True
