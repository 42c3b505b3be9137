"""What is measured of answers: series by model, path and class, gaps between tokens, and kept objectives."""

from unittest import mock

import pytest
from prometheus_client import CollectorRegistry

from services.common.clock import ManualClock
from services.common.domain import ServiceClass
from services.common.domain.tokens import tokens
from services.common.telemetry.tallies import Spread
from services.gateway.call.metrics import PER_TOKEN_S, TIMED_EVERY, AnswerMetrics, Objectives
from services.gateway.call.timed_choice import TimedChoice

OBJECTIVES = Objectives(ttft_ms=600.0, tpot_ms=40.0)


@pytest.mark.parametrize(
    ("took", "met"),
    [
        ((600.0, 40.0, 9e9), True),
        ((600.1, 40.0, 1.0), False),
        ((1.0, 40.1, 1.0), False),
    ],
)
def test_an_answer_is_good_when_it_keeps_every_objective(took: tuple[float, float, float], met: bool) -> None:
    assert OBJECTIVES.are_met(*took) is met
    assert Objectives().are_met(*took)
    assert not Objectives(e2e_ms=0.5).are_met(*took)


def test_series_are_kept_by_model_path_and_class() -> None:
    registry = CollectorRegistry()
    metrics = AnswerMetrics(registry, OBJECTIVES)
    series = metrics.series("m", "local", ServiceClass.BATCH)
    assert metrics.series("m", "local", ServiceClass.BATCH) is series
    series.good.inc()
    metrics.series("m", "disaggregated", ServiceClass.BATCH).late.inc()
    labels = {"model": "m", "path": "local", "class": "batch"}
    assert registry.get_sample_value("pdmesh_gateway_slo_answers_total", {**labels, "met": "yes"}) == 1
    assert registry.get_sample_value("pdmesh_gateway_slo_answers_total", {**labels, "met": "no"}) == 0
    metrics.count_prompt("m", 100, 30)
    for source, count in (("computed", 70), ("cached", 30)):
        found = registry.get_sample_value(
            "pdmesh_gateway_prompt_tokens_total", {"model": "m", "source": source}
        )
        assert found == count


def test_one_choice_in_so_many_is_timed() -> None:
    metrics = AnswerMetrics(CollectorRegistry(), OBJECTIVES)
    assert [metrics.times_next_choice() for _ in range(2 * TIMED_EVERY)].count(True) == 2


def test_gaps_are_those_between_frames_and_none_within() -> None:
    gaps, clock = Spread(PER_TOKEN_S), ManualClock(1_000.0)
    choice = TimedChoice(0, mock.Mock(is_stopped=False), mock.Mock(), gaps, clock)
    choice.on_tokens(tokens([1]))
    assert sum(gaps.counts) == 0, "the first token has no gap before it"
    clock.advance(30.0)
    choice.on_tokens(tokens([2, 3]))
    clock.advance(20.0)
    choice.on_token(4)
    assert sum(gaps.counts) == 3
    assert gaps.sum == pytest.approx(0.050)
    assert choice.generated_tokens == 4
