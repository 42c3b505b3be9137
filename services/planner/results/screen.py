"""An outcome on one screen."""

from collections.abc import Iterator

from services.planner.outcome import Outcome, TierOutcome
from services.planner.slo import Bound, shown_ms


def screen(outcome: Outcome, title: str) -> list[str]:
    """Lines for people."""
    return [title, "", *_promise(outcome), *_times(outcome), "", *_tiers(outcome), "", *_money(outcome)]


def _promise(outcome: Outcome) -> Iterator[str]:
    tally, slo = outcome.tally, outcome.slo
    if slo is not None:
        word = "met" if outcome.meets_slo else "missed"
        yield f"SLO {word}: {tally.attainment:.2%} of the requests kept every bound"
        for bound in slo.bounds:
            yield f"  {_bound(outcome, bound)}"
        yield f"  served {tally.served:.3%} of at least {slo.served:.3%}"
    yield (
        f"{tally.answered:,} of {tally.asked:,} requests answered in {outcome.seconds:,.0f} s"
        + (f", {outcome.unfinished:,} unfinished" if outcome.unfinished else "")
        + (f"; goodput {outcome.goodput_per_s:.2f} requests/s" if slo else "")
    )
    if tally.refusals:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in tally.refusals.most_common())
        yield f"refused: {reasons}"


def _bound(outcome: Outcome, bound: Bound) -> str:
    value_ms = outcome.quantile_ms(bound)
    mark = "ok" if value_ms <= bound.bound_ms else "MISSED"
    return f"{bound.label} {shown_ms(value_ms)} of {shown_ms(bound.bound_ms)}: {mark}"


def _times(outcome: Outcome) -> Iterator[str]:
    tally = outcome.tally
    yield f"{'':<22}{'p50':>10}{'p95':>10}{'p99':>10}{'mean':>10}"
    rows = (
        ("TTFT, ms", tally.ttft_ms),
        ("TPOT, ms", tally.tpot_ms),
        ("gaps of tokens, ms", outcome.gaps_ms),
        ("end to end, ms", tally.e2e_ms),
    )
    for name, histogram in rows:
        values = [histogram.quantile(0.5), histogram.quantile(0.95), histogram.quantile(0.99), histogram.mean]
        yield f"{name:<22}" + "".join(f"{value:>10.1f}" for value in values)


def _tiers(outcome: Outcome) -> Iterator[str]:
    yield f"{'tier':<10}{'workers':>8}{'busy':>8}{'running':>9}{'KV held':>9}{'queue':>8}{'most':>6}  timings"
    for tier in outcome.tiers:
        yield _tier(tier)


def _tier(tier: TierOutcome) -> str:
    held = f"{tier.kv_occupancy:.0%}"
    return (
        f"{tier.role:<10}{tier.workers:>8}{tier.utilisation:>8.0%}{tier.running_mean:>9.1f}{held:>9}"
        f"{tier.queue_mean:>8.1f}{tier.queue_max:>6}  {tier.source}"
        + (f", {tier.preemptions} preemptions" if tier.preemptions else "")
    )


def _money(outcome: Outcome) -> Iterator[str]:
    per_s, gpus = outcome.answer_tokens_per_s, outcome.gpus_mean
    yield f"{per_s:,.0f} tokens/s, {per_s / gpus if gpus else 0:,.0f} per GPU, on {gpus:.1f} GPUs"
    if outcome.price_per_gpu_hour:
        yield (
            f"${outcome.cost_per_hour:,.2f} an hour, ${outcome.cost_per_million_tokens:.2f} per 1M generated "
            f"tokens at ${outcome.price_per_gpu_hour:g} a GPU hour"
        )
