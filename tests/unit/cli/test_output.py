"""What `pdmesh up` writes, on a terminal and elsewhere."""

import io

import pytest

from services.cli.output import SILENCE_S, Output
from services.common.clock import ManualClock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_live_line_that_vanishes() -> None:
    screen, clock = Terminal(), ManualClock()
    output = Output(clock, stream=screen)
    output.state("router", "starting")
    clock.advance(1_500)
    output.refresh()
    assert screen.getvalue().endswith("\r\x1b[K[   1.5 s] router starting")
    output.child_line("router", "hello")
    assert "\r\x1b[Krouter | hello\n" in screen.getvalue()
    output.state("router", "ready")
    output.close()
    assert screen.getvalue().endswith("\r\x1b[K")


def test_a_file_gets_a_line_for_each_change_and_now_and_then_one_more() -> None:
    file, clock = io.StringIO(), ManualClock()
    output = Output(clock, stream=file)
    output.state("router", "starting")
    for _ in range(25):
        clock.advance(SILENCE_S * 100)
        output.refresh()
    output.state("router", "ready")
    for _ in range(25):
        clock.advance(SILENCE_S * 100)
        output.refresh()
    assert file.getvalue().splitlines() == [
        "[   0.0 s] router: starting",
        "[  10.0 s] router starting",
        "[  20.0 s] router starting",
        "[  25.0 s] router: ready",
    ]


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_lines_that_cannot_be_written_are_lost_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    output = Output(ManualClock(), stream=Full())
    for _ in range(3):
        output.state("router", "starting")
        output.child_line("router", "hello")
    output.close()
    assert [record.message for record in caplog.records] == [
        "lines of output are lost: [Errno 28] No space left on device"
    ]
