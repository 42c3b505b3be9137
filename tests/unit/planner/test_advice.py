"""Advice from a log: the ratio that serves it best, and nothing where nothing is gained."""

import json
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from services.cli.main import main
from services.common.domain import Role
from services.planner.advice.advise import Study
from services.planner.advice.alternative import Alternative, alternatives
from services.planner.load.ask import Ask
from services.planner.slo import Slo
from services.planner.world.engine import EngineLimits
from services.planner.world.fleet import Engine
from services.worker.engine.sim.step_times import Curve, StepTimes, Surface

ZERO = Curve((1, 2), (0.0, 0.0))
TIMES = StepTimes(
    "round", "fitted", Curve((1, 1_001), (10.0, 110.0)), Surface((1,), (ZERO,)), ZERO, 10, 4_096
)
ENGINE = Engine(TIMES, EngineLimits(4_096, running_max=32))
SLO = Slo.parse("ttft_p95=400ms,tpot_p95=20ms")


def study(prompt: int, answer: int, per_s: float, current: Alternative, number: int = 240) -> Study:
    chance, at_ms, requests = Random(3), 0.0, []
    for _ in range(number):
        requests.append((at_ms, Ask(prompt, answer)))
        at_ms += chance.expovariate(per_s) * 1e3
    return Study(requests, SLO, {Role.PREFILL: ENGINE, Role.DECODE: ENGINE}, current, windows=4)


def advised(made: Study):
    with ThreadPoolExecutor(1) as executor:
        return made.run(executor)


def test_long_prompts_want_more_prefill_workers() -> None:
    advice = advised(study(1_500, 20, 11.0, Alternative(1, 3, 64)))
    assert advice.best.prefill > 1
    assert advice.verdict().startswith(f"change the ratio to {advice.best.prefill}:{advice.best.decode}: +")
    assert advice.gain(advice.best).low > 0
    assert advice.attained(advice.best) == max(map(advice.attained, advice.shares))
    json.dumps(advice.to_json())


def test_long_answers_want_more_decode_workers() -> None:
    best = advised(study(200, 150, 40.0, Alternative(3, 1, 64))).best
    assert best.decode > 1


def test_what_is_good_is_kept() -> None:
    advice = advised(study(300, 20, 1.0, Alternative(2, 2, 64)))
    assert advice.verdict().startswith("keep 2P2D, threshold 64: 100.0%")
    assert "240 requests" in advice.basis()


def test_every_ratio_and_threshold_is_tried_once() -> None:
    found = list(alternatives(Alternative(1, 2, 64)))
    assert found[0] == Alternative(1, 2, 64)
    assert len(found) == len(set(found)) == 3 + 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--model llama-3.1-8b", "--log is needed"),
        ("--model llama-3.1-8b --log x", "--slo is needed"),
        ("--model llama-3.1-8b --log x --slo ttft_p95=1s", "cannot read the trace x"),
        ("--log {log} --slo ttft_p95=1s", "--model is needed"),
        ("--model llama-3.1-8b --log {log} --slo ttft_p95=1s --profile smal", "did you mean small"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, tmp_path, words: str, line: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"timestamp": 0, "input_length": 10, "output_length": 5}\n')
    assert main(["advise", *words.format(log=log).split()]) == 2
    caught = capsys.readouterr()
    assert line in caught.err
    assert caught.err.count("\n") == 1


def test_the_command_prints_a_verdict_and_all_alternatives(capsys, tmp_path) -> None:
    log = tmp_path / "log.jsonl"
    lines = (f'{{"timestamp": {i * 300}, "input_length": 400, "output_length": 20}}' for i in range(60))
    log.write_text("\n".join(lines))
    words = f"advise --model llama-3.1-8b --log {log} --slo ttft_p95=1s --profile h100-llama-3.1-8b-bf16-tp1"
    assert main(words.split()) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("keep 1P1D")
    assert "2 aggregated" in shown
