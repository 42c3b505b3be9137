"""The page docs/study-70b.md: `make study`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from services.cli.planner.hardware_settings import HardwareSettings
from services.cli.planner.load_settings import LoadSettings
from services.cli.planner.plan import PlanSettings, plan_of
from services.common.domain import Role
from services.planner.load.lengths import Drawn
from services.planner.load.parse import parse_load
from services.planner.outcome import Outcome
from services.planner.planning.candidate import Candidate, Trial
from services.planner.planning.money import cost_per_million
from services.planner.planning.plan import Plan
from services.planner.results.plots import plot_latency
from services.planner.scenario import Scenario, Tier, autoscaling, play
from services.planner.slo import shown_ms
from services.planner.world.link import LinkRates
from services.router.core.scaling.rules import TierRules
from tests.tidy.source import ROOT

HERE = Path(__file__).parent
PAGE, PLOTS = ROOT / "docs/study-70b.md", ROOT / "docs/plots"
MODEL = "nvidia/Llama-3.3-70B-Instruct-FP8"
WHOLE = "ttft_p95=600ms,tpot_p95=40ms,e2e_p95=4s"
WITHOUT_END = "ttft_p95=600ms,tpot_p95=40ms"
SUSTAINED, BURST = 200, 800
BURST_FROM_S, BURST_TO_S, BURST_ALL_S = 30, 90, 120
COLD_START_MS = 60_000.0
TABLE_STEP_S = 10
SPREAD = "uniform"


def main() -> None:
    """Write the page and its plots."""
    lines = (HERE / "study_head.md").read_text("utf-8").splitlines()
    sustained = planned(f"concurrency={SUSTAINED}", WHOLE)
    lines += section("200 in flight, 4 s end to end", sustained)
    easier = planned(f"concurrency={SUSTAINED}", WITHOUT_END)
    lines += section("200 in flight, without the 4 s", easier)
    lines += compared(sustained, easier)
    burst = planned(f"concurrency={BURST}", WHOLE, gpus_max=96)
    lines += section("800 in flight, 4 s end to end", burst)
    lines += second_by_second(sustained, burst)
    for gpu, weights in (("h100", "fp8"), ("a100", "bf16")):
        lines += section(f"100 000 users a day on {gpu.upper()}", users(gpu, weights), USERS)
    lines += (HERE / "study_tail.md").read_text("utf-8").splitlines()
    PAGE.write_text("\n".join([*lines, ""]), "utf-8")


USERS = (
    "100 000 daily users make 10 calls each of 2 000 tokens in and 500 out: 11.6 a second on average, 116 in "
    "a 10x spike, 500 in flight at most. TTFT p99 below 2 s, 8 s for all 500 tokens."
)


def users(gpu: str, weights: str) -> Plan:
    """The second wish, at its 500 requests in flight."""
    return planned(
        "concurrency=500",
        "ttft_p99=2s,e2e_p99=8s",
        gpu=gpu,
        weights=weights,
        prompt_tokens=2_000,
        output_tokens=500,
        gpus_max=160,
    )


def planned(load: str, slo: str, *, gpu: str = "h100", weights: str = "fp8", **more: int) -> Plan:
    """A plan for lengths from 80 to 100 % of those stated."""
    lengths = {
        "prompt_tokens": more.pop("prompt_tokens", 500),
        "output_tokens": more.pop("output_tokens", 200),
    }
    model = MODEL if weights == "fp8" else "llama-3.3-70b"
    settings = PlanSettings(
        hardware=HardwareSettings(model=model, gpu=gpu, weights=weights),
        load=LoadSettings(load=load, slo=slo, spread=SPREAD, duration="40s", warm_up="10s", **lengths),
        gpus_max=more.get("gpus_max", 48),
    )
    return plan_of(settings)


def section(title: str, plan: Plan, text: str = "") -> Iterator[str]:
    """Verdict and table."""
    yield from ("", f"## {title}", "")
    if text:
        yield from (text, "")
    yield f"**{plan.verdict()}.**"
    if plan.contradiction:
        yield from ("", f"Mind that {plan.contradiction}.")
    yield from (f"\n{note}." for note in plan.notes)
    yield from ("", *table(plan))


def table(plan: Plan) -> Iterator[str]:
    """The cheapest of each kind that keep the promise, the best that do not, and what they cost."""
    bounds = plan.target.slo.bounds
    heads = " | ".join(bound.label for bound in bounds)
    yield f"| fleet | GPUs | keeps it | attained | {heads} | tokens/s | per GPU | $ per 1M | $ a month |"
    yield "|---|---|---|---|" + "---|" * len(bounds) + "---|---|---|---|"
    for judged in shown(plan):
        outcome, gpus = judged.outcome, judged.candidate.gpus
        values = " | ".join(shown_ms(outcome.quantile_ms(bound)) for bound in bounds)
        costs, rate = plan.costs(judged), outcome.answer_tokens_per_s
        yield (
            f"| {judged.candidate.label} | {gpus} | {'yes' if judged.meets else 'no'} "
            f"| {outcome.tally.attainment:.1%} | {values} | {rate:,.0f} | {rate / gpus:,.0f} "
            f"| {cost_per_million(costs.per_hour, rate):.2f} | {costs.per_month:,.0f} |"
        )


def shown(plan: Plan) -> list:
    """Up to three of each kind that keep the promise, and two that fail it."""
    found = []
    for aggregated in (True, False):
        own = [each for each in plan.judged if each.candidate.is_aggregated is aggregated]
        found += [each for each in own if each.meets][:3]
        failing = [each for each in own if not each.meets]
        found += sorted(failing, key=lambda each: -each.outcome.tally.attainment)[:2]
    return sorted(found, key=lambda each: (each.candidate.gpus, each.candidate.label))


def compared(whole: Plan, easier: Plan) -> Iterator[str]:
    """What the 4 s cost."""
    yield ""
    if whole.best is None or easier.best is None:
        return
    dear, cheap = (plan.costs(plan.best) for plan in (whole, easier))
    yield (
        f"The 4 s cost {dear.gpus / cheap.gpus:.1f} times the GPUs: {dear.gpus:g} instead of {cheap.gpus:g}, "
        f"${dear.per_month:,.0f} instead of ${cheap.per_month:,.0f} a month."
    )


def second_by_second(sustained: Plan, burst: Plan) -> Iterator[str]:
    """The burst on a fleet for 200 that grows, with and without warm spares."""
    if sustained.best is None or burst.best is None:
        return
    small, large = sustained.best.candidate, burst.best.candidate
    if small.is_aggregated is not large.is_aggregated:
        large = replace(small, decode=small.decode * 4, prefill=small.prefill * 4)
    yield from ("", "## The burst, second by second", "")
    yield (
        f"{SUSTAINED} in flight, {BURST} from second {BURST_FROM_S} to {BURST_TO_S}. The fleet is "
        f"{small.label}, and may grow to {large.label}; a worker comes {COLD_START_MS / 1e3:g} s after it is "
        "wanted. With warm spares all of the growth is loaded and waits without work."
    )
    runs = {
        "no scaling": bursting(sustained, small, None, 0),
        "scaling, cold": bursting(sustained, small, large, 0),
        "scaling, warm spares": bursting(sustained, small, large, 1),
    }
    played = {name: play(scenario) for name, scenario in runs.items()}
    yield from ("", *seconds(played))
    for name, outcome in played.items():
        path = PLOTS / f"burst-{name.replace(', ', '-').replace(' ', '-')}"
        plot_latency(outcome, path)
        yield from ("", f"![{name}]({path.relative_to(PAGE.parent)}.svg)")


def bursting(plan: Plan, small: Candidate, large: Candidate | None, warm: int) -> Scenario:
    """One run."""
    drawn = Drawn(500, 200, SPREAD)
    text = f"concurrency={SUSTAINED},burst={BURST}@{BURST_FROM_S}s-{BURST_TO_S}s"
    load = parse_load(text, drawn, BURST_ALL_S * 1e3)
    target = replace(plan.target, load=load)
    trial = Trial(small, plan.sizes, target, LinkRates(), plan.prices.gpu_hour, 10_000.0)
    scenario = replace(trial.scenario(), cold_start_ms=COLD_START_MS)
    if large is None:
        return scenario
    most = {Role.PREFILL: large.prefill, Role.DECODE: large.decode}
    begin = {Role.PREFILL: small.prefill, Role.DECODE: small.decode}
    tiers = {
        role: Tier(tier.engine, tier.workers, (most[role] - begin[role]) * warm)
        for role, tier in scenario.tiers.items()
    }
    rules = TierRules(rate_window_ms=2_000.0, target_wait_ms=200.0)
    return autoscaling(replace(scenario, tiers=tiers), most, rules)


def seconds(played: dict[str, Outcome]) -> Iterator[str]:
    """TTFT, end and refusals by the second in which a request began."""
    names = " | ".join(f"{name}: TTFT p95, end p95, refused" for name in played)
    yield f"| from second | {names} |"
    yield "|---|" + "---|" * len(played)
    for begin_s in range(10, BURST_ALL_S, TABLE_STEP_S):
        cells = [cell(outcome, begin_s) for outcome in played.values()]
        yield f"| {begin_s} | " + " | ".join(cells) + " |"
    costs = [
        f"{outcome.gpus_mean:.0f} GPUs, {outcome.tally.attainment:.1%} kept" for outcome in played.values()
    ]
    yield "| all | " + " | ".join(costs) + " |"


def cell(outcome: Outcome, begin_s: int) -> str:
    """One span of time."""
    bins = [each for at_s, each in outcome.series.rows() if begin_s <= at_s < begin_s + TABLE_STEP_S]
    if not bins:
        return "none"
    ttft_ms = max(each.ttft_ms.quantile(0.95) for each in bins)
    e2e_ms = max(each.e2e_ms.quantile(0.95) for each in bins)
    return f"{shown_ms(ttft_ms)}, {shown_ms(e2e_ms)}, {sum(each.refused for each in bins)}"
