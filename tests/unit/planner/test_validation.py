"""Predictions beside published measurements; docs/validation.md has all of them."""

import pytest

from services.planner.hardware.precision import Precision
from tests.bench.planner.points import LLAMA, h100_rows, rows_of
from tests.bench.planner.predict import Predicted, mean_errors, predict


def judged(size: int) -> list[Predicted]:
    return [predict(point, seeds=(1,)) for point in h100_rows() if point.tensor_parallel == size]


def test_rows_that_nothing_was_learnt_on_are_predicted() -> None:
    """Tensor parallelism 8; a single seed is noisier than the page's three."""
    ttft, tpot = mean_errors(judged(8))
    assert ttft < 0.075
    assert tpot < 0.04


def test_engines_that_ran_out_of_kv_are_recognised() -> None:
    rows = judged(2)
    assert [row.is_seen_to_run_out for row in rows] == [row.ran_out for row in rows]
    for row in rows:
        if row.ran_out:
            assert abs(row.ttft_error) < 0.3


def test_another_gpu_is_predicted_with_the_same_constants() -> None:
    points = [point for point in rows_of(LLAMA, "h200_sxm", "fp8") if point.output_tokens == 1_024]
    ttft, tpot = mean_errors([predict(point, Precision.FP8, seeds=(1,)) for point in points])
    assert ttft < 0.15
    assert tpot < 0.06


@pytest.mark.parametrize("spread", ["fixed"])
def test_the_load_weighs_as_much_as_the_gpu(spread: str) -> None:
    """With fixed lengths clients march in lock step, and their prompts come in waves."""
    point = next(p for p in h100_rows() if (p.tensor_parallel, p.clients, p.output_tokens) == (4, 32, 1_024))
    assert predict(point, seeds=(1,), spread=spread).ttft_error > 1.0
