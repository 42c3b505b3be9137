"""Step times learnt from anchors are those of the engine that gave them."""

import pytest

from services.cli.main import main
from services.common.errors import BadSetting
from services.planner.calibration.anchors import Anchors, DecodeAnchor, PromptAnchor, calibrate
from services.planner.calibration.least_squares import fit
from services.worker.engine.sim.step_times import StepTimes

LENGTHS, CROWDS, CONTEXTS = (64, 128, 256, 512, 1_024), (1, 2, 8, 16), (88, 536)


def anchors(prompt_ms, step_ms) -> Anchors:
    return Anchors(
        [PromptAnchor(tokens, prompt_ms(tokens)) for tokens in LENGTHS],
        [DecodeAnchor(n, context, step_ms(n, context)) for context in CONTEXTS for n in CROWDS],
        front_ms=7.0,
        kv_token_bytes=100,
        kv_blocks=1_000,
    )


def test_a_linear_engine_is_found_again() -> None:
    made = calibrate(
        anchors(lambda n: 4 + 0.05 * n + 1e-5 * n * n, lambda n, c: 5 + 0.1 * n + 1e-4 * n * c), "mine"
    )
    assert made.prompt_residual < 1e-6
    assert made.decode_residual < 1e-6
    times = made.times
    assert times.source == "fitted"
    assert times.decode_ms(8, 300) == pytest.approx(5 + 0.8 + 0.24, rel=0.001)
    assert times.step_ms([(512, 0)], 0, 0) == pytest.approx(4 + 25.6 + 2.62, rel=0.01)
    assert StepTimes.from_json(times.to_json()) == times


def test_what_does_not_matter_gets_no_negative_share() -> None:
    made = calibrate(anchors(lambda n: 10.0, lambda n, c: 5.0 - 0.01 * n), "mine")
    assert made.times.decode_ms(16, 1_000) == pytest.approx(4.9, rel=0.03)
    assert 0 < made.decode_residual < 0.02
    assert made.times.step_ms([(1_000, 0)], 0, 0) == pytest.approx(10.0, rel=0.01)


def test_columns_that_depend_on_each_other_are_no_trap() -> None:
    assert fit([(1.0, 2.0), (1.0, 2.0)], [4.0, 4.0]) == pytest.approx([4.0, 0.0])


def test_too_few_anchors_are_refused() -> None:
    with pytest.raises(BadSetting, match="two lengths"):
        calibrate(Anchors([PromptAnchor(1, 1.0)], [], 0.0, 1, 1), "mine")


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ("--url ftp://x", 2, "no http:// or https://"),
        ("--most-at-once 1", 2, "is not between 2 and 512"),
        ("--url http://127.0.0.1:9", 1, "no mesh answers"),
    ],
)
def test_bad_input_is_one_line(capsys, words: str, code: int, line: str) -> None:
    assert main(["calibrate", *words.split()]) == code
    caught = capsys.readouterr()
    assert line in caught.err
    assert caught.err.count("\n") == 1
