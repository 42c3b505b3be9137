"""The parts of the comparison that compute: what is counted, parsed and shown."""

import asyncio
import itertools
import os
import signal
import subprocess
import time
from types import SimpleNamespace
from typing import Any

import pytest

from services.common.domain import FinishReason, HandoffReleased, JobFinished, StepOutput
from services.common.domain.tokens import tokens
from tests.bench.peers.__main__ import added
from tests.bench.peers.engine import BEGIN, END, TOKENS, whole_request
from tests.bench.peers.install import last_error
from tests.bench.peers.load import Seen, Tally, summary
from tests.bench.peers.report import page
from tests.bench.peers.spread import SpreadSink
from tests.bench.peers.tree import tree

ANSWER = BEGIN.replace(b"content-type", b"x-said-with: a word\r\ncontent-type") + b"".join(TOKENS[:3]) + END


@pytest.mark.parametrize("size", [1, 2, 7, 64, 100_000])
def test_tokens_are_counted_however_the_bytes_are_cut(size: int) -> None:
    tally = Tally()
    counted = sum(tally.add(ANSWER[at : at + size]) for at in range(0, len(ANSWER), size))
    assert (counted, tally.status, tally.is_done) == (4, b"200", True)


def test_several_tokens_in_one_event_count_as_several() -> None:
    tally = Tally()
    tally.add(b"HTTP/1.1 200 OK\r\n\r\n")
    assert tally.add(b'data: {"content":" w1 w22 w3"}\n\n') == 3
    assert not tally.is_done


def test_an_answer_that_lacks_a_token_has_failed() -> None:
    whole = Seen(0.0, 3, [0.010, 0.020, 0.050], b"200", is_done=True)
    short = Seen(0.0, 3, [0.010, 0.020], b"200", is_done=True)
    refused = Seen(0.0, 3, [], b"503")
    told = summary([whole, short, refused], wall_s=2.0)
    assert (told["requests"], told["failed"], told["tokens"]) == (3, 2, 5)
    assert told["tokens_per_s"] == 2.5
    assert told["ttft_ms_p50"] == pytest.approx(10.0)
    assert told["gap_ms_p99"] == pytest.approx(30.0)


def test_requests_come_in_pieces_and_together() -> None:
    plain = b"POST /v1/x?y=1 HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"
    chunked = b"POST /z HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n1\r\ny\r\n0\r\n\r\n"
    for request, path in ((plain, "/v1/x"), (chunked, "/z")):
        for cut in range(len(request)):
            assert whole_request(request[:cut]) is None
        assert whole_request(request + b"GET") == (path, b"body", b"GET")


def test_the_reason_is_pips_last_error() -> None:
    said = "WARNING: x\nERROR: Could not find a version\nERROR: No matching distribution found for smg==9\n\n"
    assert last_error(said) == "No matching distribution found for smg==9"
    assert last_error("") == "pip said nothing"


def test_children_of_children_count() -> None:
    command = ["sh", "-c", "sh -c 'sleep 30; true'; true"]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            while len(found := tree(process.pid)) < 3:
                time.sleep(0.01)
            assert set(found) < set(tree(os.getpid()))
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_phases_are_spread_over_the_step() -> None:
    phases = sorted(SpreadSink.phase(stream) for stream in range(100, 164))
    gaps = [later - earlier for earlier, later in itertools.pairwise(phases)]
    assert max(gaps) < 3 / 64


def test_the_page_says_who_is_missing_failed_or_slow() -> None:
    text = page(told())
    assert "Not measured: absent. on no index." in text
    assert "| **pdmesh** (Python) | 12.0 | 0.60 |" in text  # gateway + router, without the worker
    assert "| swift 2.0 (Rust) | 20.0 | 0.20 |" in text
    assert "| **pdmesh** (Python) | 1.50 / 4.00 | 20.0 / 25.0 |" in text  # above the engine alone
    assert "swift, 8 lock step: 2 requests failed." in text
    assert "swift, 8 lock step: saturated at 100 tokens a second" in text


def told() -> dict[str, Any]:
    """What a run may have found."""

    def row(who: str, cpu: dict[str, float], ms: dict[str, float], *times: float, **more: Any) -> Any:
        names = ("ttft_ms_p50", "ttft_ms_p99", "gap_ms_p50", "gap_ms_p99")
        load = {"failed": 0, "tokens_per_s": 400.0, "cpu_s_per_million_tokens": cpu}
        load |= dict(zip(names, times, strict=True)) | more
        return {
            "case": "8 lock step",
            "who": who,
            "load": load,
            "bare": {"failed": 0, "cpu_ms_per_request": ms},
        }

    return {
        "command": "make bench-peers",
        "machine": {"cpu": "a CPU", "cores": 2, "python": "3.11"},
        "cases": [{"name": "8 lock step", "prompt_tokens": 500, "output_tokens": 200}],
        "peers": {
            "swift": {"language": "Rust", "version": "2.0", "reason": ""},
            "absent": {"language": "Python", "version": "", "reason": "on no index"},
        },
        "rows": [
            row("direct", {"engine": 5.0}, {"engine": 0.1}, 0.5, 1.0, 20.0, 21.0),
            row(
                "pdmesh",
                {"gateway": 8.0, "router": 4.0, "decode": 3.0},
                {"gateway": 0.4, "router": 0.2, "decode": 9.0},
                *(2.0, 5.0, 20.0, 25.0),
            ),
            row(
                "swift",
                {"swift": 20.0, "engine": 5.0},
                {"swift": 0.2, "engine": 0.1},
                *(1.0, 2.0, 20.0, 22.0),
                failed=2,
                tokens_per_s=100.0,
            ),
        ],
    }


def test_a_peer_measured_later_is_compared_with_the_engine_of_its_own_run() -> None:
    last, later = told(), told()
    later["rows"][0]["load"]["ttft_ms_p50"] = 0.9
    later["rows"] = [later["rows"][0], later["rows"][2]]
    text = page(added(last, later))
    assert "Measured in a run of their own, a little later: swift." in text
    assert "| **pdmesh** (Python) | 1.50 / 4.00 |" in text
    assert "| swift 2.0 (Rust) | 0.10 / 1.00 |" in text
    assert text.count("| swift") == 2


async def test_a_stream_ends_after_its_last_token_and_what_is_no_token_does_not_wait() -> None:
    heard: list[StepOutput] = []
    sink = SpreadSink(SimpleNamespace(on_step=heard.append, on_engine_dead=heard.append), step_ms=1.0)
    step = StepOutput(released=[HandoffReleased("h")], finished=[JobFinished(7, FinishReason.LENGTH)])
    step.tokens.add(7, tokens([1, 2]))
    step.tokens.add(8, tokens([3]))
    sink.on_step(step)
    assert [one.released for one in heard] == [[HandoffReleased("h")]]
    while len(heard) < 3:
        await asyncio.sleep(0.001)
    told = {one.tokens.streams[0]: (list(one.tokens.token_ids), one.finished) for one in heard[1:]}
    assert told == {7: ([1, 2], [JobFinished(7, FinishReason.LENGTH)]), 8: ([3], [])}
