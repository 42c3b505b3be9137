"""Loops that sleep to the next beat wake together, and no more often than asked."""

import time

import pytest

from services.common.clock import until_beat_s


@pytest.mark.parametrize(
    ("now_s", "rest_s"), [(100.0, 0.5), (100.1, 0.4), (100.39, 0.11), (100.41, 0.59), (100.4999, 0.5001)]
)
def test_the_rest_of_a_beat_is_slept_unless_it_is_nearly_over(
    monkeypatch: pytest.MonkeyPatch, now_s: float, rest_s: float
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    assert until_beat_s(0.5) == pytest.approx(rest_s)


def test_longer_beats_fall_on_shorter_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 77.7)
    beats_s = [77.7 + until_beat_s(interval_s) for interval_s in (0.25, 0.5, 1.0)]
    assert beats_s == pytest.approx([77.75 + 0.25, 78.0, 78.0])
