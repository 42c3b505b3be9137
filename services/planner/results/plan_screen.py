"""A plan on a screen or two."""

from collections.abc import Iterator

import yaml

from services.planner.hardware.engine_spec import EngineSpec
from services.planner.planning.candidate import Judged
from services.planner.planning.money import HOURS_PER_MONTH, cost_per_million
from services.planner.planning.plan import Plan
from services.planner.planning.search import front
from services.planner.slo import shown_ms

MIB = 1024 * 1024


def plan_screen(plan: Plan) -> list[str]:
    """Lines for people, the verdict first."""
    lines = [plan.verdict()]
    if plan.contradiction:
        lines.append(f"note: {plan.contradiction}")
    lines += [f"note: {note}" for note in plan.notes]
    lines += ["", *_table(plan), "", *_memory(plan)]
    best = plan.best
    if best is not None:
        lines += ["", *_costs(plan, best), "", "On one host:", plan.up_line(best.candidate), ""]
        values = yaml.safe_dump(plan.helm_values(best.candidate), sort_keys=False)
        lines += ["On Kubernetes, as --values of deploy/helm/pdmesh:", values.rstrip()]
    return lines


def _table(plan: Plan) -> Iterator[str]:
    bounds = plan.target.slo.bounds
    head = "".join(f"{bound.label:>11}" for bound in bounds)
    yield f"  {'fleet':<26}{'GPUs':>5}{'$/h':>9}{'$/1M':>8}{'attained':>10}{head}{'tok/s/GPU':>11}  timings"
    edge = front(plan.judged)
    for judged in plan.judged:
        candidate, outcome = judged.candidate, judged.outcome
        per_hour = plan.costs(judged).per_hour
        per_million = cost_per_million(per_hour, outcome.answer_tokens_per_s)
        mark = "*" if candidate in edge else " "
        met = "+" if judged.meets else " "
        values = "".join(f"{shown_ms(outcome.quantile_ms(bound)):>11}" for bound in bounds)
        source = plan.sizes.times[candidate.decode_tp].source
        yield (
            f"{mark}{met}{candidate.label:<26}{candidate.gpus:>5}{per_hour:>9.2f}{per_million:>8.2f}"
            f"{outcome.tally.attainment:>10.2%}{values}"
            f"{outcome.answer_tokens_per_s / candidate.gpus:>11.0f}  {source}"
        )
    yield "* no other attains more for less   + keeps the promise"


def _memory(plan: Plan) -> Iterator[str]:
    load = plan.target.load
    request = load.prompt_tokens + load.output_tokens
    yield (
        f"{'one engine':<26}{'weights':>10}{'left for KV':>13}{'KV/token':>11}{'KV/request':>12}"
        f"{'requests at most':>18}"
    )
    for spec in plan.sizes.specs.values():
        yield _budget(spec, request)


def _budget(spec: EngineSpec, request_tokens: float) -> str:
    per_request = spec.kv_token_bytes * request_tokens
    return (
        f"{f'{spec.tensor_parallel} x {spec.gpu.name}, {spec.weights.value}, KV {spec.kv.value}':<26}"
        f"{spec.weights_bytes / 1e9:>7.1f} GB{spec.kv_room_bytes / 1e9:>10.1f} GB"
        f"{spec.kv_token_bytes / 1024:>7.0f} KiB{per_request / MIB:>8.0f} MiB"
        f"{int(spec.kv_tokens / request_tokens):>18,}"
    )


def _costs(plan: Plan, best: Judged) -> Iterator[str]:
    costs, tokens_per_s = plan.costs(best), best.outcome.answer_tokens_per_s
    output = plan.target.load.output_tokens
    gpu_part = cost_per_million(costs.gpus_per_hour, tokens_per_s)
    whole = cost_per_million(costs.per_hour, tokens_per_s)
    yield (
        f"${costs.per_month:,.0f} a month; per 1M generated tokens ${whole:.2f}: GPUs ${gpu_part:.2f}, "
        f"overheads ${whole - gpu_part:.2f}"
    )
    if plan.prices.api is not None:
        requests, tokens = plan.break_even(best)
        a_month = best.outcome.tally.answered / best.outcome.seconds * 3_600 * HOURS_PER_MONTH
        taken = a_month * plan.prices.api.per_request(plan.target.load.prompt_tokens, output)
        yield f"this load is {a_month:,.0f} requests a month, for which the API takes ${taken:,.0f}"
        yield (
            f"cheaper than the API from {requests:,.0f} requests or {tokens / 1e6:,.0f}M generated tokens a "
            "month on"
        )
