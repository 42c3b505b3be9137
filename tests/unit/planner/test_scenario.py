"""Whole runs on the router's real core, on engines with round times."""

import json
from dataclasses import replace

import pytest

from services.cli.main import main
from services.common.domain import Role
from services.planner.load.ask import Ask
from services.planner.load.lengths import Drawn
from services.planner.load.sources import ClosedLoop, OpenLoop, Phase, Replay
from services.planner.outcome import Outcome
from services.planner.scenario import Death, Scenario, Tier, autoscaling, play
from services.planner.slo import Slo
from services.planner.world.engine import EngineLimits
from services.planner.world.fleet import Engine
from services.planner.world.link import LinkRates
from services.planner.world.speculation import Speculation
from services.router.core.scaling.rules import TierRules
from services.worker.engine.sim.step_times import Curve, StepTimes, Surface

ZERO = Curve((1, 2), (0.0, 0.0))
TIMES = StepTimes(
    "round", "fitted", Curve((1, 1_001), (10.0, 110.0)), Surface((1,), (ZERO,)), ZERO, 1_000, 4_096
)
"""A step takes 9.9 ms and 0.1 ms for each token."""
ENGINE = Engine(TIMES, EngineLimits(4_096, batched_tokens_max=2_048))
SLO = Slo.parse("ttft_p95=600ms,tpot_p95=40ms")
LINK = LinkRates(gb_per_s=1.0, latency_ms=2.0, descriptor_us=0.0)


def fleet(prefill: int, decode: int, source, for_ms: float = 30_000, **more) -> Scenario:
    tiers = {Role.DECODE: Tier(ENGINE, decode)}
    if prefill:
        tiers[Role.PREFILL] = Tier(ENGINE, prefill)
    return Scenario(tiers, source, for_ms, SLO, link=LINK, front_ms=5.0, **more)


def alone(prefill: int, decode: int, ask: Ask, **more) -> Outcome:
    return play(fleet(prefill, decode, Replay([(0.0, ask)]), 1_000, **more))


def test_a_lone_request_takes_what_its_steps_take() -> None:
    """Front 5, three messages of 0.3, a step of 9.9 + 50, then 9 steps of 10."""
    found = alone(0, 1, Ask(500, 10)).tally
    assert found.ttft_ms.mean == pytest.approx(5 + 59.9 + 2 * 0.3)
    assert found.e2e_ms.mean == pytest.approx(found.ttft_ms.mean + 9 * 10)


def test_a_handoff_takes_the_links_time_before_the_second_token() -> None:
    """500 KB at 1 GB/s and 2 ms, the job's way and that of the last tokens."""
    found = alone(1, 1, Ask(500, 10)).tally
    assert found.ttft_ms.mean == pytest.approx(5 + 59.9 + 2 * 0.3)
    assert found.e2e_ms.mean == pytest.approx(found.ttft_ms.mean + 2 * 0.3 + 2.5 + 9 * 10, abs=0.05)


def test_short_prompts_are_not_handed_over() -> None:
    at_threshold, above = (alone(1, 1, Ask(tokens, 10), local_prompt_tokens_max=64) for tokens in (64, 65))
    assert [tier.utilisation > 0 for tier in at_threshold.tiers] == [True, False]
    assert [tier.utilisation > 0 for tier in above.tiers] == [True, True]


def test_an_answer_of_one_token_ends_with_its_prompt() -> None:
    for prefill in (0, 1):
        found = alone(prefill, 1, Ask(500, 1)).tally
        assert found.answered == 1
        assert found.e2e_ms.mean == found.ttft_ms.mean


def test_speculation_makes_tokens_cheaper_and_steps_dearer() -> None:
    """Three drafts of 0.5 give 1.875 tokens in a step of 9.9 + 0.4 ms."""
    engine = replace(ENGINE, limits=replace(ENGINE.limits, speculation=Speculation(3, 0.5)))
    source = Replay([(0.0, Ask(500, 11))])
    found = play(Scenario({Role.DECODE: Tier(engine, 1)}, source, 1_000, front_ms=5.0)).tally
    assert found.tpot_ms.mean == pytest.approx(10.3 / 1.875, rel=0.001)


def test_the_same_seed_is_the_same_run() -> None:
    scenario = fleet(1, 2, OpenLoop(Drawn(400, 40), (Phase(8, 30_000),)))
    first, second = (play(scenario).to_json() for _ in range(2))
    assert first == second
    assert first != play(replace(scenario, seed=2)).to_json()


def test_every_request_has_one_end() -> None:
    found = play(fleet(1, 2, OpenLoop(Drawn(400, 40), (Phase(8, 30_000),)))).tally
    assert found.asked == found.answered + found.refusals.total()
    assert found.asked == pytest.approx(240, rel=0.2)


def test_clients_that_wait_get_what_the_engine_gives() -> None:
    """16 clients on one engine: a token takes 11.6 ms while nobody's prompt runs."""
    found = play(fleet(0, 1, ClosedLoop(Drawn(100, 100, "fixed"), 16, 0, until_ms=30_000)))
    per_request_ms = found.tally.e2e_ms.mean
    assert found.tally.answered == pytest.approx(16 * 30_000 / per_request_ms, rel=0.05)
    assert found.gaps_ms.quantile(0.5) == pytest.approx(9.9 + 1.6, rel=0.02)


def test_a_death_costs_time_and_no_request() -> None:
    source = OpenLoop(Drawn(400, 40), (Phase(8, 30_000),))
    calm = play(fleet(1, 3, source))
    deadly = play(
        fleet(
            1,
            3,
            source,
            deaths=(Death(10_000, Role.DECODE), Death(15_000, Role.PREFILL)),
            cold_start_ms=3_000,
        )
    )
    assert deadly.tally.answered == deadly.tally.asked
    assert deadly.tally.e2e_ms.most > calm.tally.e2e_ms.most
    assert sum(tier.workers for tier in deadly.tiers) == 4


def test_overload_is_refused_with_its_reason() -> None:
    found = play(fleet(0, 1, OpenLoop(Drawn(2_000, 100), (Phase(40, 30_000),))))
    assert found.tally.served < 0.5
    assert set(found.tally.refusals) <= {
        "queue_full",
        "queue_wait_exceeded",
        "kv_memory_full",
        "shed",
        "overloaded",
        "kv_exhausted",
    }
    assert not found.meets_slo


def test_a_scaler_adds_workers_for_a_burst() -> None:
    source = OpenLoop(Drawn(400, 200), (Phase(4, 10_000), Phase(24, 40_000), Phase(4, 10_000)))
    fixed = fleet(1, 1, source, 60_000, cold_start_ms=5_000)
    scaled = autoscaling(fixed, {Role.PREFILL: 4, Role.DECODE: 6}, TierRules(rate_window_ms=2_000))
    with_scaler, without = play(scaled), play(fixed)
    assert with_scaler.gpu_hours > without.gpu_hours
    assert with_scaler.tally.attainment > without.tally.attainment


def test_memory_does_not_grow_with_simulated_time() -> None:
    found = play(fleet(0, 1, OpenLoop(Drawn(20, 2), (Phase(1, 2_000_000),)), 2_000_000))
    assert found.tally.answered > 1_800
    assert len(found.series.bins) <= 600


def test_the_command_tells_and_writes_what_came_of_it(capsys, tmp_path) -> None:
    words = "simulate --model llama-3.1-8b --decode 1 --prefill 0 --load rate=2 --duration 20s --warm-up 2s"
    slo = ["--slo", "ttft_p95=600ms,e2e_p95=4s"]
    assert main([*words.split(), *slo]) == 0
    shown = capsys.readouterr().out
    assert "SLO met" in shown
    assert "1 aggregated of llama-3.1-8b on 1 x h100" in shown
    assert main([*words.split(), *slo, "--json", "--out", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tiers"][0]["source"] == "measured"
    assert {
        f"{name}.{ending}" for name in ("latency", "fleet", "distributions") for ending in ("png", "svg")
    } < {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "--model is needed"),
        ("--model llama-3.1-70b", "does not fit 1 x h100"),
        ("--model llama-3.1-8b --gpu h1000", "did you mean h100"),
        ("--model llama-3.1-8b --prefill-tp 3", "3 GPUs cannot share"),
        ("--model llama-3.1-8b --duration 5", "has no unit"),
        ("--model llama-3.1-8b --warm-up 200s", "leaves nothing"),
        ("--model llama-3.1-8b --death gateway@3s", "prefill@30s"),
        ("--model llama-3.1-8b --speculation 3", "3:0.7"),
        ("--model llama-3.1-8b --speculation 3:1", "below 1"),
        ("--model llama-3.1-8b --prompt-tokens 0", "at least 1"),
        ("--model llama-3.1-8b --kv int3", "unknown precision int3"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, words: str, line: str) -> None:
    assert main(["simulate", *words.split()]) == 2
    caught = capsys.readouterr()
    assert line in caught.err
    assert caught.err.count("\n") == 1
