"""A model's text cannot steer the terminal."""

import io
import sys

import pytest

from services.cli.terminal import show

STEERING = "one\x1b[2Jtwo\x9b31m\r\n\tdrei ä 東 😀"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    with monkeypatch.context() as patch:  # not a fixture: pytest puts its own in place before the test
        patch.setattr(sys, "stdout", screen)
        show(STEERING)
    assert screen.getvalue() == "one\ufffd[2Jtwo\ufffd31m\ufffd\n\tdrei ä 東 😀"


def test_a_pipe_gets_the_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show(STEERING)
    assert capsys.readouterr().out == STEERING
