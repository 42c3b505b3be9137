"""Requests of the past: found in the request log, and told as a story."""

import gzip
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.cli.history import search
from services.cli.history.archive import open_archive, seconds_of
from services.cli.history.record import record_of
from services.cli.history.story import PATH_REASONS, story
from services.cli.history.story import run as why
from services.common.errors import BadSetting
from services.router.core.paths import CACHED, DEMANDED, LONG, NOT_REPLAYED, REPLAYED, SHORT
from tests.tidy.source import ROOT

RECEIPT = {
    "path": "disaggregated",
    "path_reason": "long_prompt",
    "prefill_worker": "p1",
    "decode_worker": "d2",
    "cached_tokens": 128,
    "queue_ms": 2_100.0,
    "prefill_ms": 300.0,
    "handoff_ms": 44.0,
    "decode_ms": 398.0,
    "kv_size_bytes": 52_800_000,
    "handoff_gb_per_s": 1.2,
    "retries": 0,
    "model": "m-v2",
}


def reasons() -> set[str]:
    """Every reason that the router's core writes for a path."""
    texts = "".join(path.read_text() for path in (ROOT / "services/router/core").glob("*.py"))
    return set(re.findall(r'"((?:pair|handoff)_[a-z]+|no_prefill_worker)"', texts)) | {
        choice.reason for choice in (SHORT, CACHED, LONG, DEMANDED, REPLAYED, NOT_REPLAYED)
    }


def line(request_id: str, ago_s: float = 10.0, **fields: Any) -> str:
    at = (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat(timespec="milliseconds")
    told = {
        "time": at.replace("+00:00", "Z"),
        "message": "request",
        "path": "/v1/chat/completions",
        "request_id": request_id,
        "model": "m",
        "status": 200,
        "took_ms": 2_900.0,
        "ttft_ms": 2_420.0,
        "prompt_tokens": 500,
        "generated_tokens": 200,
        "receipt": RECEIPT,
    }
    return json.dumps(told | fields) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "requests-g1.jsonl").write_text(
        line("new", tenant="acme")
        + line("quick", took_ms=10.0)
        + line("refused", status=503, error="kv_memory_full", receipt=None, took_ms=1.0)
        + '{"cut off'
    )
    with gzip.open(tmp_path / "requests-g2.jsonl.1.gz", "wt") as older:
        older.write(line("old", ago_s=7_200.0))
    (tmp_path / "other.txt").write_text("not a log")
    return tmp_path


def ids(folder: Path, **options: Any) -> list[str]:
    archive = open_archive(str(folder), seconds_of(options.pop("since", "1h"), "since"))
    return [record["request_id"] for record in search.find(archive, options)]


def test_lines_of_all_files_are_found_the_compressed_ones_too(folder: Path) -> None:
    assert set(ids(folder)) == {"new", "quick", "refused"}
    assert set(ids(folder, since="3h")) == {"new", "quick", "refused", "old"}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"tenant": "acme"}, ["new"]),
        ({"failed": True}, ["refused"]),
        ({"error": "kv_memory_full"}, ["refused"]),
        ({"status": 503}, ["refused"]),
        ({"slow": True}, ["new"]),
        ({"path": "disaggregated", "model": "m-v2", "limit": 1, "slow": True}, ["new"]),
        ({"path": "local"}, []),
    ],
)
def test_what_is_asked_for_is_found(folder: Path, options: dict[str, Any], found: list[str]) -> None:
    assert ids(folder, **options) == found


def test_a_query_of_one_s_own_is_answered_and_a_wrong_one_is_explained(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--request-log-dir", str(folder)]
    assert search.run([*at, "--sql", "SELECT count(*) AS n FROM requests WHERE status = 200"]) == 0
    assert json.loads(capsys.readouterr().out) == {"n": 2}
    with pytest.raises(BadSetting, match="--sql"):
        search.run([*at, "--sql", "SELECT nothing"])
    assert search.run([*at, "--tenant", "nobody"]) == 1


@pytest.mark.parametrize("text", ["1", "h", "1w", "", "-h"])
def test_a_time_without_its_unit_is_explained(text: str) -> None:
    with pytest.raises(BadSetting, match="write 90s, 15m, 1h or 2d"):
        seconds_of(text, "since")


def test_a_directory_that_is_none_is_explained(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="is no directory"):
        open_archive(str(tmp_path / "no"))
    with pytest.raises(BadSetting, match="is needed"):
        open_archive("")


@pytest.mark.parametrize("text", ["", "7", "[]", '{"time": 3}', '{"a": '])
def test_what_is_no_line_of_the_log_is_passed_over(text: str) -> None:
    assert record_of(text) is None


def told(**fields: Any) -> str:
    record = record_of(line("abc", **fields))
    assert record is not None
    return "\n".join(story(record))


def test_the_story_of_a_slow_request_names_what_took_longest() -> None:
    text = told(tenant="acme")
    assert "abc: /v1/chat/completions, model m-v2, tenant acme" in text
    assert "it took the disaggregated path on p1 and d2" in text
    assert "2.10 s waiting in the router" in text
    assert "500 prompt tokens, 128 of them cached" in text
    assert "44.0 ms handing 52.8 MB of KV over at 1.20 GB/s" in text
    assert "generating 200 tokens, 2.0 ms each" in text
    assert text.endswith("most of its time, 2.10 s, went into waiting for a worker")


@pytest.mark.parametrize("reason", sorted(reasons()))
def test_every_way_that_the_router_takes_has_words(reason: str) -> None:
    assert f"because {PATH_REASONS[reason]}" in told(receipt=RECEIPT | {"path_reason": reason})


def test_the_story_of_a_failed_request_says_why() -> None:
    text = told(status=504, error="deadline_passed", error_message="the request's deadline has passed")
    assert "got no answer, because deadline_passed: the request's deadline has passed" in text


def test_the_story_of_a_refused_request_has_no_worker() -> None:
    text = told(status=503, error="kv_memory_full", receipt=None)
    assert "it never reached a worker" in text


def test_time_that_the_workers_did_not_take_is_told() -> None:
    assert "went outside the workers" in told(took_ms=60_000.0)


def test_why_finds_a_request_by_the_beginning_of_its_id(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert why(["ne", "--request-log-dir", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("new: ")
    assert why(["%", "--request-log-dir", str(folder)]) == 1
