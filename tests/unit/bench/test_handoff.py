"""The handoff bench's arithmetic."""

import pytest

from tests.bench.handoff.asking import Told
from tests.bench.handoff.measure import inside, row, values
from tests.bench.handoff.memcpy import memcpy_gb_per_s
from tests.bench.handoff.report import page

PAGE = """\
# HELP pdmesh_worker_nixl_bytes A number
pdmesh_worker_nixl_bytes 3e+06
pdmesh_worker_nixl_transfer_seconds 0.5
pdmesh_worker_handoffs_total{event="adopted"} 4.0
"""
RECEIPT = {
    "path": "disaggregated",
    "kv_size_bytes": 8_000_000,
    "handoff_ms": 20.0,
    "prefill_ms": 190.0,
    "queue_ms": 1.0,
}


def test_metrics_are_read_by_name() -> None:
    names = ("pdmesh_worker_nixl_transfer_seconds", "pdmesh_worker_nixl_bytes")
    assert values(PAGE, names) == [0.5, 3e6]


def test_rates_are_bytes_over_their_own_times() -> None:
    answers = [Told(200.0, 30.0, (30.0, 5.0, 6.0, 7.0), (0.0, 0.03), RECEIPT)] * 2
    told = row(1_000, answers, [16_000_000.0, 0.008], 16.0)
    assert told["transfer_ms"] == pytest.approx(4.0)
    assert told["transfer_gb_per_s"] == pytest.approx(2.0)
    assert told["handoff_gb_per_s"] == pytest.approx(0.4)
    assert told["handoff_share_of_ttft"] == pytest.approx(0.1)
    assert (told["second_gap_ms"], told["later_gap_ms"]) == (30.0, 6.0)


def test_a_stream_is_looked_at_while_others_are_handed_over() -> None:
    times_s = [0.00, 0.01, 0.02, 0.05, 0.06, 0.10]
    told = inside(times_s, [(0.015, 0.055), (0.055, 0.065)], usual_ms=10.0)
    assert told["tokens_in_handoffs"] == 3
    assert told["tokens_alone_in_that_time"] == pytest.approx(5.0)
    assert told["longest_step_ms_in_handoffs"] == pytest.approx(40.0)
    assert inside([], [], usual_ms=10.0)["longest_step_ms_in_handoffs"] == 0.0


def test_a_copy_larger_than_the_room_is_cut() -> None:
    assert memcpy_gb_per_s(1 << 40, room_bytes=1 << 20) > 0.0


@pytest.mark.parametrize(
    ("tokens", "said"), [(1, "The first token does not wait."), (0, "**The first token waits")]
)
def test_the_page_says_whether_the_first_token_waits(tokens: int, said: str) -> None:
    times = dict.fromkeys(("ttft_ms", "ttft_ms_while_held", "second_gap_ms", "second_gap_ms_while_held"), 9.0)
    overlap = ("handoffs", "tokens_meanwhile", "step_ms_alone", "step_ms_beside_handoffs", "handoff_ms")
    overlap += (
        "longest_step_ms_alone",
        "longest_step_ms_beside_handoffs",
        "tokens_in_handoffs",
        "tokens_alone_in_that_time",
    )
    overlap += ("longest_step_ms_in_handoffs",)
    burst = ("prompts", "ttft_ms_alone", "last_ttft_ms", "last_ttft_ms_per_prompt", "handoff_ms")
    found = {
        "kv_token_bytes": 2_048,
        "by_size": [row(1_000, [Told(200.0, 30.0, (30.0, 5.0), (0.0, 0.03), RECEIPT)], [8e6, 0.004], 16.0)],
        "held": {"prompt_tokens": 1_000, "tokens_while_held": tokens, **times},
        "overlap": dict.fromkeys(overlap, 1.0),
        "burst": dict.fromkeys(burst, 1.0),
    }
    machine = {"cpu": "a CPU", "cores": 2, "python": "3.11"}
    text = page({"command": "x", "machine": machine, "models": {"demo": found}})
    assert said in text
    assert "| 1000 | 8.0 | 200 | 190 | 20.0 | 10.0% | 4.00 | 2.00 | 16.00 |" in text
