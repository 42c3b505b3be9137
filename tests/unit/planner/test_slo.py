"""Promises: read, refused in one line, and checked against themselves."""

import pytest

from services.common.errors import BadSetting
from services.planner.slo import Slo


def test_bounds_are_read_with_their_units() -> None:
    slo = Slo.parse("ttft_p95=600ms, tpot_p95=40ms,e2e_p99=4s,served=99.5%")
    assert [(b.label, b.bound_ms) for b in slo.bounds] == [
        ("ttft_p95", 600),
        ("tpot_p95", 40),
        ("e2e_p99", 4_000),
    ]
    assert slo.served == 0.995
    assert Slo.parse(str(slo)) == slo


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ttft_p95=600", "has no unit: write 600ms or 600s"),
        ("ttft_p95=600mx", "unknown unit mx"),
        ("ttft_p95=-5ms", "is no time"),
        ("ttft_p95=0ms", "more than nothing"),
        ("ttft_p95=nan", "is no time"),
        ("ttft_p95", "sets no bound"),
        ("tftt_p95=5ms", "did you mean ttft_p95"),
        ("ttft_p100=5ms", "between 0 and 100"),
        ("ttft_p95=5ms,ttft_p95=6ms", "twice"),
        ("served=99%", "no bound"),
        ("ttft_p95=5ms,served=120%", "between 0 and 100 %"),
        ("ttft_p95=5ms,served=much", "is no share"),
        ("", "no bound"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(BadSetting) as caught:
        Slo.parse(text)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_an_slo_that_contradicts_itself_says_which_bound_binds() -> None:
    """600 ms + 199 x 40 ms = 8.56 s, which is not 4 s."""
    slo = Slo.parse("ttft_p95=600ms,tpot_p95=40ms,e2e_p95=4s")
    words = slo.contradiction(200)
    assert "600ms + 199 x 40ms = 8.56s, not 4s" in words
    assert "17.1 ms per token" in words


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("ttft_p95=600ms,tpot_p95=40ms,e2e_p95=9s", 200),
        ("ttft_p95=600ms,tpot_p95=40ms", 200),
        ("e2e_p95=1s", 9),
    ],
)
def test_bounds_that_go_together_are_no_contradiction(text: str, tokens: int) -> None:
    assert Slo.parse(text).contradiction(tokens) == ""


def test_a_first_token_later_than_the_end_is_one() -> None:
    assert "contradicts itself" in Slo.parse("ttft_p95=5s,tpot_p95=40ms,e2e_p95=4s").contradiction(200)
