"""Log lines are JSON objects; metrics answer on their port."""

import json
import logging
import socket
import urllib.request
from collections.abc import Iterator

import pytest

from services.common.errors import PortInUse
from services.common.telemetry import configure_logging, serve_metrics


@pytest.fixture
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


@pytest.mark.usefixtures("root_logger")
def test_a_log_line_is_one_json_object_with_its_extras(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("router")
    logging.getLogger("core").info("placed %s", "a\nb", extra={"queue_ms": 1.5, "path": object})
    logging.getLogger("core").debug("not shown")
    (text,) = capsys.readouterr().out.splitlines()
    line = json.loads(text)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "service": "router",
        "logger": "core",
        "message": "placed a\nb",
        "queue_ms": 1.5,
        "path": "<class 'object'>",
    }


@pytest.mark.usefixtures("root_logger")
def test_an_exception_stays_within_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("router", "error")
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logging.getLogger("core").exception("failed")
    (text,) = capsys.readouterr().out.splitlines()
    assert "RuntimeError: broken" in json.loads(text)["exception"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_metrics_answer_while_the_context_is_open() -> None:
    port = free_port()
    with serve_metrics(port), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b"python_info" in answer.read()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_metrics_port_is_one_line() -> None:
    port = free_port()
    with serve_metrics(port), pytest.raises(PortInUse, match=str(port)), serve_metrics(port):
        pass


def test_port_zero_exposes_nothing() -> None:
    with serve_metrics(0):
        pass
