"""Plans: money and estimates by hand, the search, the verdict, and how the fleet is started."""

import json
import shlex
from concurrent.futures import Executor, Future

import pytest
import yaml

from services.cli import configuration
from services.cli.main import main
from services.cli.up_settings import UpSettings
from services.common.settings import StrictParser
from services.planner.hardware.engine_spec import EngineSpec
from services.planner.hardware.gpu import gpu_of
from services.planner.hardware.model import model_of
from services.planner.hardware.precision import Precision
from services.planner.load.lengths import Drawn
from services.planner.load.parse import parse_load
from services.planner.planning.candidate import Candidate, Sizes
from services.planner.planning.deployment import helm_values, up_line
from services.planner.planning.estimate import aggregated_workers, largest_batch, prefill_workers
from services.planner.planning.money import HOURS_PER_MONTH, ApiPrice, Costs, break_even, cost_per_million
from services.planner.planning.plan import Plan, Prices
from services.planner.planning.search import Search, front
from services.planner.planning.target import Target
from services.planner.slo import Slo
from services.planner.world.link import LinkRates
from services.worker.engine.sim.step_times import Curve, StepTimes, Surface

ZERO = Curve((1, 2), (0.0, 0.0))
TIMES = StepTimes(
    "round", "fitted", Curve((1, 1_001), (10.0, 110.0)), Surface((1,), (ZERO,)), ZERO, 1_000, 4_096
)
"""A step takes 9.9 ms and 0.1 ms for each token."""
SPEC = EngineSpec(model_of("llama-3.1-8b"), gpu_of("h100"), 1, Precision.BF16, Precision.BF16)
SIZES = Sizes({1: SPEC}, {1: TIMES})


class Inline(Executor):
    """Runs at once."""

    def submit(self, call, /, *arguments):
        future: Future = Future()
        future.set_result(call(*arguments))
        return future


def target(load: str = "rate=6", slo: str = "ttft_p95=600ms,tpot_p95=30ms") -> Target:
    return Target(parse_load(load, Drawn(500, 100), 30_000), Slo.parse(slo))


def plan(gpus_max: int = 12, **given) -> Plan:
    wanted = target(**given)
    search = Search(SIZES, wanted, gpus_max, LinkRates(), 2.0, 3_000)
    return Plan(wanted, SIZES, search.run(Inline()), Prices(2.0), gpus_max)


def test_12_dollars_an_hour_at_5000_tokens_a_second_are_67_cents_a_million() -> None:
    assert cost_per_million(12, 5_000) == pytest.approx(0.67, abs=0.005)


def test_10640_dollars_a_month_break_even_at_a_million_and_a_quarter_requests() -> None:
    assert break_even(10_640, 0.0085) == pytest.approx(1.25e6, rel=0.002)
    assert break_even(10_640, 0.0) == float("inf")


def test_overheads_and_peoples_hours_are_costs_too() -> None:
    costs = Costs(
        gpus=4,
        price_per_gpu_hour=2,
        overhead_per_hour=1,
        operations_hours_per_month=10,
        operations_price_per_hour=73,
    )
    assert costs.per_month == pytest.approx(9 * HOURS_PER_MONTH + 730)
    assert costs.per_hour == pytest.approx(10)
    assert ApiPrice(0.6, 0.8).per_request(1_000, 500) == pytest.approx(0.001)


def test_the_end_binds_where_it_is_tighter_than_the_tokens() -> None:
    """(4 000 - 300) / 179 of the mean answer, below 40."""
    wanted = Target(
        parse_load("rate=1", Drawn(500, 200), 30_000), Slo.parse("ttft_p95=600ms,tpot_p95=40ms,e2e_p95=4s")
    )
    assert wanted.step_ms_max == pytest.approx(3_700 / 179)


def test_estimates_follow_from_the_steps() -> None:
    """A prompt of 450 takes 54.9 ms, so 6 a second need 0.33 of a worker; 27 ms are 171 sequences."""
    assert prefill_workers(target(), TIMES, 8_192) == 1
    assert prefill_workers(target("rate=30"), TIMES, 8_192) == 3
    found = largest_batch(target(), TIMES, 1_000_000)
    assert found is not None
    assert found.running == 171
    assert largest_batch(target(slo="tpot_p95=10ms"), TIMES, 1_000_000) is None


def test_an_engine_that_does_both_takes_fewer_requests_than_one_that_decodes() -> None:
    alone = aggregated_workers(target("rate=60"), TIMES, 8_192, 1_000_000)
    assert alone is not None
    assert alone > prefill_workers(target("rate=60"), TIMES, 8_192)


def test_the_search_finds_fleets_of_both_kinds_and_no_smaller_one_keeps_the_promise() -> None:
    found = plan()
    together, apart = found.best_aggregated, found.best_disaggregated
    assert together is not None
    assert apart is not None
    best = found.best
    assert best is not None
    for each in found.judged:
        if each.candidate.gpus < best.candidate.gpus:
            assert not each.meets
    assert best.candidate in front(found.judged)
    json.dumps(found.to_json())


def test_a_promise_that_nothing_keeps_has_a_nearest_and_a_reason() -> None:
    words = plan(gpus_max=2, load="rate=60").verdict()
    assert words.startswith("cannot be met with at most 2 GPUs; the nearest is")
    assert "because its" in words
    assert "because its tpot_p95 is" in plan(gpus_max=2, slo="tpot_p95=5ms").verdict()


@pytest.mark.parametrize(
    "candidate",
    [Candidate(0, 0, 3, 2, 256), Candidate(2, 2, 3, 4, 96), Candidate(1, 2, 1, 2, 40, threshold=512)],
)
def test_what_starts_the_fleet_is_understood(candidate: Candidate, monkeypatch) -> None:
    sizes = Sizes(
        {
            size: EngineSpec(model_of("llama-3.1-70b"), gpu_of("h100"), size, Precision.FP8, Precision.FP8)
            for size in (2, 4)
        },
        {2: TIMES, 4: TIMES},
    )
    words = shlex.split(up_line(candidate, sizes, 2_048))
    assert words[:2] == ["pdmesh", "up"]
    settings, _ = configuration.read(StrictParser(prog="up"), UpSettings, "up", words[2:])
    assert (settings.prefill, settings.decode) == (candidate.prefill, candidate.decode)
    decode = dict(pair.split("=", 1) for pair in settings.engine_args("decode"))
    assert decode["tensor-parallel-size"] == str(candidate.decode_tp)
    assert decode["max-num-seqs"] == str(candidate.running_max)
    values = helm_values(candidate, sizes, 2_048)
    assert yaml.safe_load(yaml.safe_dump(values)) == values
    assert values["decode"]["gpus"] == candidate.decode_tp
    assert ("router" in values) == (candidate.threshold != 64)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--slo ttft_p95=600ms", "--model is needed"),
        ("--model llama-3.1-8b", "--slo is needed"),
        ("--model llama-3.1-8b --slo ttft_p95=1s --tp 3", "none of 1, 2, 4 and 8"),
        ("--model llama-3.1-8b --slo ttft_p95=1s --gpus-max 0", "at least 1"),
        ("--model llama-3.1-8b --slo ttft_p95=1s --api-price 5", "0.6/0.8"),
        ("--model llama-3.1-8b --slo ttft_p95=1s --api-price=-1/5", "zero or more"),
        ("--model llama-3.1-405b --slo ttft_p95=1s --tp 1", "does not fit 1 x h100"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, words: str, line: str) -> None:
    assert main(["plan", *words.split()]) == 2
    caught = capsys.readouterr()
    assert line in caught.err
    assert caught.err.count("\n") == 1


def test_the_command_prints_verdict_table_budget_and_line(capsys, tmp_path) -> None:
    words = "plan --model llama-3.1-8b --load rate=10 --duration 20s --warm-up 2s --tp 1 --gpus-max 4"
    more = [
        "--slo",
        "ttft_p95=600ms,tpot_p95=40ms,e2e_p95=1s",
        "--api-price",
        "0.1/0.2",
        "--out",
        str(tmp_path),
    ]
    assert main([*words.split(), *more]) in (0, 1)
    shown = capsys.readouterr().out
    assert "600ms + 179 x 40ms = 7.76s, not 1s" in shown
    assert "requests at most" in shown
    assert {"pareto.png", "pareto.svg", "plan.json"} == {path.name for path in tmp_path.iterdir()}
