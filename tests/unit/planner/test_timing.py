"""Step times: the tables' arithmetic, what the silicon says, and the roofline where it says nothing."""

from dataclasses import replace

import pytest

from services.planner import silicon
from services.planner.hardware.engine_spec import EngineSpec
from services.planner.hardware.gpu import gpu_of
from services.planner.hardware.model import model_of
from services.planner.hardware.precision import Precision
from services.planner.timing import times_of
from services.planner.timing.measured import measured
from services.planner.timing.roofline import Coefficients, roofline
from services.worker.engine.sim.step_times import Curve, Host, StepTimes, Surface

TIMES = StepTimes(
    name="by hand",
    source="fitted",
    dense=Curve((1, 100, 1_000), (1.0, 2.0, 11.0)),
    decode_attention=Surface((1, 10), (Curve((0, 100), (0.0, 1.0)), Curve((0, 100), (0.0, 6.0)))),
    prefill_attention=Curve((10, 110), (1.0, 3.0)),
    kv_token_bytes=8,
    kv_blocks=100,
    host_ms=0.5,
    sequence_us=100.0,
)


def llama(tensor_parallel: int, gpu: str = "h100", kv: Precision = Precision.FP8) -> EngineSpec:
    return EngineSpec(model_of("llama-3.1-70b"), gpu_of(gpu), tensor_parallel, Precision.FP8, kv)


@pytest.mark.parametrize(
    ("chunks", "decoding", "context", "ms"),
    [
        ([], 10, 1_000, 0.5 + 1.0 + 6.0 + 1.0 + 9 / 99),
        ([(100, 0)], 0, 0, 0.5 + 2.0 + 2.8),
        ([(100, 10)], 0, 0, 0.5 + 2.0 + 3.0 - 1.0 + 1.0),
        ([(50, 0), (50, 0)], 0, 0, 0.5 + 2.0 + 1.0 + 2 * 0.8),
        ([(540, 0)], 10, 1_000, 0.5 + 1.0 + 6.0 + 6.5 + 1.0 + 530 / 50),
    ],
)
def test_a_step_is_the_sum_of_its_parts(chunks, decoding: int, context: int, ms: float) -> None:
    assert TIMES.step_ms(chunks, decoding, context) == pytest.approx(ms)


def test_a_long_prompt_costs_the_same_attention_in_chunks_as_whole() -> None:
    whole = TIMES.prefill_ms(200, 200)
    halves = TIMES.prefill_ms(200, 100)
    fixed = TIMES.host_ms + TIMES.prefill_attention.ms[0] + 2 * TIMES.dense(100) - TIMES.dense(200)
    assert halves == pytest.approx(whole + fixed)


def test_a_profile_survives_its_file() -> None:
    assert StepTimes.from_json(TIMES.to_json()) == TIMES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        TIMES.to_json().replace("dense", "dens"),
        TIMES.to_json().replace("fitted", "guessed"),
    ],
)
def test_a_file_that_is_none_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|profile"):
        StepTimes.from_json(text)


@pytest.mark.parametrize(
    ("at", "ms"), [((1, 1), (1.0, 2.0)), ((2, 1), (1.0, 2.0)), ((1,), (1.0,)), ((1, 2), (1.0,))]
)
def test_a_curve_that_is_none_is_refused(at, ms) -> None:
    with pytest.raises(ValueError, match="curve"):
        Curve(at, ms)


def test_host_and_sustained_load_are_added_to_kernels() -> None:
    loaded = TIMES.with_host(Host(2.0, 0.0, 7.0, prompt_factor=1.5))
    assert loaded.front_ms == 7.0
    assert loaded.step_ms([], 10, 1_000) == pytest.approx(2.0 + 6.0 + 1.0 + 9 / 99)
    assert loaded.dense(1_000) == pytest.approx(TIMES.dense(512) + 1.5 * (11.0 - TIMES.dense(512)))


@pytest.mark.parametrize(("sequences", "ms"), [(1, 16.5), (32, 17.6), (64, 19.3), (128, 23.2), (256, 31.1)])
def test_kernels_of_a_70b_on_two_h100_take_what_was_measured(sequences: int, ms: float) -> None:
    """A decode step at a context of 600, without the host."""
    assert measured(llama(2)).decode_ms(sequences, 600) == pytest.approx(ms, rel=0.01)


@pytest.mark.parametrize(("tokens", "ms"), [(500, 43), (2_000, 165), (8_000, 595)])
def test_prompts_of_a_70b_on_two_h100_take_what_was_measured(tokens: int, ms: float) -> None:
    assert measured(llama(2)).prefill_ms(tokens, 8_192) == pytest.approx(ms, rel=0.05)


def test_sources_are_told_apart() -> None:
    timings = times_of(llama(2))
    assert (timings.times.source, timings.note) == ("measured", "")
    fallen = times_of(replace(llama(2), weights=Precision.INT4))
    assert fallen.times.source == "roofline"
    assert "no measured kernels for llama-3.1-70b int4, 2 x h100" in fallen.note


def test_without_the_library_all_is_a_roofline(monkeypatch) -> None:
    monkeypatch.setattr(silicon, "is_installed", lambda: False)
    timings = times_of(llama(4))
    assert timings.times.source == "roofline"
    assert "pip install 'pdmesh[plan]'" in timings.note


@pytest.mark.parametrize("tensor_parallel", [1, 2, 4, 8])
def test_the_roofline_is_near_what_was_measured(tensor_parallel: int) -> None:
    spec = llama(tensor_parallel)
    rough, fine = roofline(spec), times_of(spec).times
    for sequences, context in ((1, 600), (64, 1_500), (256, 1_500)):
        assert rough.decode_ms(sequences, context) == pytest.approx(
            fine.decode_ms(sequences, context), rel=0.25
        )
    assert rough.prefill_ms(2_000, 8_192) == pytest.approx(fine.prefill_ms(2_000, 8_192), rel=0.25)


def test_the_rooflines_coefficients_can_be_set() -> None:
    slow = roofline(llama(2), Coefficients(bandwidth_share=0.375))
    usual = roofline(llama(2))
    reading_ms = llama(2).model.shape.layer_parameters / (3350e6 * 0.75) / 2
    assert slow.decode_ms(1, 1) - usual.decode_ms(1, 1) == pytest.approx(reading_ms, rel=0.05)
