"""The study's arithmetic: arrivals, what is good, where a shape loses."""

import os
from typing import Any

import pytest

from tests.bench.isolation.load import CHAT, LONG, Arrival, arrivals, record
from tests.bench.isolation.quiet import Moment, busy_s, others_share
from tests.bench.isolation.report import page
from tests.bench.isolation.verdict import Promise, figures, losses, promise, scaled
from tests.mesh.client import Answer


def one(kind: str = CHAT, ttft_ms: float = 10.0, tpot_ms: float = 5.0, **more: Any) -> dict[str, Any]:
    whole = {"whole": True, "path": "local", "gaps_ms": [tpot_ms] * 3}
    return {"kind": kind, "ttft_ms": ttft_ms, "tpot_ms": tpot_ms, **whole, **more}


FAILED = one(whole=False, ttft_ms=None, tpot_ms=None, gaps_ms=[], error="")


def test_the_same_seed_is_the_same_load() -> None:
    load = list(arrivals(8.0, 60.0, seed=3))
    assert load == list(arrivals(8.0, 60.0, seed=3))
    assert len(load) == pytest.approx(480, rel=0.2)
    assert [a.at_s for a in load] == sorted(a.at_s for a in load)
    assert {a.kind for a in load} == {LONG, CHAT}
    assert load != list(arrivals(8.0, 60.0, seed=4))


def test_a_promise_is_a_multiple_of_an_idle_mesh() -> None:
    idle = [one(LONG, 100.0, 1.0), one(LONG, 200.0, 1.0), one(LONG, 900.0, 1.0), one(CHAT, 5.0, 4.0)]
    assert promise(idle) == Promise(ttft_ms=600.0, tpot_ms=8.0)
    assert scaled(promise(idle))[1.5] == Promise(600.0, 6.0)


def test_good_requests_keep_both_promises() -> None:
    refused = {**FAILED, "error": "not placed"}
    records = [one(), one(ttft_ms=101.0), one(tpot_ms=10.1), one(path="disaggregated"), FAILED, refused]
    told = figures(records, seconds=2.0, promised={2.0: Promise(100.0, 10.0), 3.0: Promise(100.0, 15.0)})
    assert (told["requests"], told["failed"]) == (6, 2)
    assert told["errors"] == {"another length than asked": 1, "not placed": 1}
    assert (told["goodput_per_s"], told["attainment"]) == (1.0, pytest.approx(1 / 3))
    assert told["attainment_by_tpot_factor"] == {"2.0": pytest.approx(1 / 3), "3.0": 0.5}
    assert told["disaggregated_share"] == 0.25
    assert (told["chat_ttft_ms_p99"], told["long_ttft_ms_p50"]) == (101.0, 0.0)


def test_a_short_answer_is_not_whole() -> None:
    answer = Answer(status=200, is_done=True, began_s=1.0, arrivals_s=[1.1, 1.2, 1.4])
    answer.receipt = {"generated_tokens": 4, "path": "local"}
    told = record(Arrival(0.0, CHAT, 50, 4), answer)
    assert told["ttft_ms"] == pytest.approx(100.0)
    assert told["tpot_ms"] == pytest.approx(100.0)  # two tokens came in one piece
    assert told["gaps_ms"] == pytest.approx([100.0, 200.0])
    assert not record(Arrival(0.0, CHAT, 50, 5), answer)["whole"]


def test_losses_are_told_against_the_best_of_the_others() -> None:
    promised = {2.0: Promise(100.0, 10.0)}
    apart = {1.0: figures([one(ttft_ms=30.0)] * 4, 1.0, promised)}
    beside = {1.0: figures([one(ttft_ms=20.0, tpot_ms=9.0)] * 4, 1.0, promised)}
    small = {1.0: figures([one(ttft_ms=40.0, tpot_ms=11.0)] * 4, 1.0, promised)}
    (line,) = losses(apart, {"beside": beside, "small": small})
    assert line.startswith("1 requests/s: ttft_ms_p50 30.0 against 20.0 (beside)")
    assert "tpot" not in line
    assert "goodput" not in line
    assert list(losses(beside, {"small": small})) == []


def test_others_are_what_is_busy_and_not_ours() -> None:
    assert others_share(Moment(0.0, 10.0, 4.0), Moment(10.0, 25.0, 14.0), cores=2) == pytest.approx(0.25)
    ticks = os.sysconf("SC_CLK_TCK")
    assert busy_s(f"cpu  {ticks} 0 {ticks} 900 900 0 0 {ticks} 7 7\ncpu0 1") == 3.0
    before = Moment.now()
    sum(range(300_000))
    assert Moment.now().own_s >= before.own_s


def test_the_page_says_where_disaggregation_loses() -> None:
    promised = {2.0: Promise(100.0, 10.0)}
    rates = {
        name: {"rates": {"1": {"others_cpu_share": 0.125} | figures([one(tpot_ms=tpot_ms)], 1.0, promised)}}
        for name, tpot_ms in (("apart", 12.0), ("beside", 6.0))
    }
    told = {
        "command": "make bench-isolation",
        "machine": {"cpu": "a CPU", "cores": 2, "python": "3.11"},
        "model": "a model",
        "seconds": 1.0,
        "rates": [1.0],
        "promise": {"ttft_ms": 100.0, "tpot_ms": 10.0},
        "shapes": rates,
    }
    text = page(told)
    assert "| 1 | apart | 0.00 | 0% | 0 |" in text
    assert "| 12% |" in text
    assert "tpot_ms_p50 12.0 against 6.0 (beside)" in text
    assert "goodput 0.00/s against 1.00/s (beside)" in text
