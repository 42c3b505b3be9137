"""Processes that die again and again are shown until they attach, or are told of no more."""

from services.common.clock import ManualClock
from services.router.fleet_view import FleetView
from services.router.given_up import PROCESSES_MAX, TOLD_MS, GivenUp
from services.router.verdict import Severity, findings


def test_what_is_told_is_shown_for_a_while() -> None:
    clock = ManualClock()
    given_up = GivenUp(clock)
    given_up.note("decode-1", "died 6 times in 60 s")
    clock.advance(TOLD_MS)
    given_up.note("decode-2", "died 7 times in 60 s")
    assert list(given_up.current()) == ["decode-1", "decode-2"]
    clock.advance(1.0)
    assert given_up.current() == {"decode-2": "died 7 times in 60 s"}


def test_there_is_a_bound() -> None:
    given_up = GivenUp(ManualClock())
    for number in range(PROCESSES_MAX + 2):
        given_up.note(f"decode-{number}", "x" * 10_000)
    assert len(given_up.current()) == PROCESSES_MAX
    assert "decode-0" not in given_up.current()
    assert len(given_up.current()["decode-2"]) < 1_000


def test_it_is_a_finding() -> None:
    view = FleetView(given_up={"decode-1": "died 6 times in 60 s: exit code 1"})
    (found,) = [finding for finding in findings(view) if finding.kind == "process_given_up"]
    assert found.severity is Severity.WARNING
    assert found.text == "decode-1 cannot be kept running: it died 6 times in 60 s: exit code 1"
