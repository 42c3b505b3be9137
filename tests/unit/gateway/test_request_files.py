"""The request log on disk: it rotates, is bounded and private, and a full disk harms nothing else."""

import gzip
import json
import logging
from pathlib import Path

import pytest

from services.common.errors import BadSetting
from services.common.telemetry.tallies import Total
from services.gateway import request_files as files
from services.gateway.call import request_log
from services.gateway.call.request_log import log_request
from services.gateway.request_files import request_files

MIB = 1024 * 1024


def log(number: int, padding: int = 0) -> None:
    log_request("POST", "/v1/chat/completions", 200, 1.0, {"request_id": f"r{number}", "pad": "x" * padding})


def test_a_line_for_each_request_is_on_disk_whatever_the_log_s_own_level(tmp_path: Path) -> None:
    logging.getLogger("pdmesh.request").setLevel(logging.ERROR)
    with request_files(str(tmp_path / "log"), "g/1", MIB, Total()):
        log(1)
        log(2)
    (file,) = (tmp_path / "log").iterdir()
    assert file.name == "requests-g-1.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [json.loads(text)["request_id"] for text in file.read_text().splitlines()] == ["r1", "r2"]
    assert logging.getLogger("pdmesh.request").level == logging.ERROR
    logging.getLogger("pdmesh.request").setLevel(logging.NOTSET)


def test_full_files_are_compressed_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_SIZE_BYTES_MAX", 4_096)
    with request_files(str(tmp_path), "g", 4 * 4_096, Total()):
        for number in range(100):
            log(number, padding=500)
    packed = sorted(tmp_path.glob("*.gz"))
    assert len(packed) == 3
    with gzip.open(packed[0], "rt") as file:
        newest = [json.loads(text)["request_id"] for text in file]
    assert newest[-1] > "r80"
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_a_full_disk_costs_lines_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lost = Total()
    with request_files(str(tmp_path), "g", MIB, lost):
        (entry,) = [
            h for h in logging.getLogger("pdmesh.request").handlers if isinstance(h, request_log._Entry)
        ]
        monkeypatch.setattr(files._Files, "flush", _no_space)
        for number in range(3):
            log(number)
        while not entry.queue.empty() or lost.value != 3:
            pass
        monkeypatch.undo()
        log(4)
    told = [record.message for record in caplog.records if record.name == "pdmesh.request_files"]
    assert [text[:40] for text in told] == [
        "the request log cannot be written, its l",
        "the request log is written again; pdmesh",
    ]


def _no_space(_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_directory_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BadSetting, match="--request-log-dir"),
        request_files(str(tmp_path / "file" / "log"), "g", MIB, Total()),
    ):
        pass


def test_without_a_directory_nothing_is_kept() -> None:
    with request_files("", "g", MIB, Total()):
        assert not any(
            isinstance(h, request_log._Entry) for h in logging.getLogger("pdmesh.request").handlers
        )
