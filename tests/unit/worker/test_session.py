"""What a worker tells a router at once, and what with the next load report."""

from dataclasses import replace
from typing import Any

import pytest

from services.common.clock import ManualClock
from services.common.domain import (
    Capacity,
    Fingerprint,
    HandoffReleased,
    LoadReport,
    Registration,
    Role,
    StepOutput,
)
from services.common.limits import DEFAULTS
from services.worker.session import RELEASES_MAX, RouterSession

PRINTS = Fingerprint("m", "d", "bf16", "bf16", 16, 1, "e", "1", "c")
ALONE = Registration("w", Role.PREFILL, PRINTS, Capacity(1_000, 160, 8, 8_192, 1_000))
PLENTY = LoadReport(kv_blocks_free=300, kv_blocks_total=1_000)


class Site:
    """A session whose link only notes what it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, registration: Registration = ALONE) -> None:
        shell: Any = None
        self.asked: list[str] = []
        self.session = RouterSession(
            None, shell, registration, limits=DEFAULTS, clock=ManualClock(), on_greeted=lambda: None
        )
        for name in ("wake", "wake_later"):
            monkeypatch.setattr(self.session.link, name, lambda name=name: self.asked.append(name))

    def release(self) -> list[str]:
        """What a release asks of the link."""
        self.asked.clear()
        self.session.tell(StepOutput(released=[HandoffReleased("h")]))
        return self.asked


def test_a_release_waits_for_the_load_report_while_kv_is_plentiful(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch)
    site.session.report(PLENTY)
    assert [site.release() for _ in range(RELEASES_MAX - 1)] == [[]] * (RELEASES_MAX - 1)
    assert site.release() == ["wake_later"], "many together are told soon"


@pytest.mark.parametrize(
    ("registration", "load"),
    [(ALONE, replace(PLENTY, kv_blocks_free=200)), (replace(ALONE, is_shared=True), PLENTY), (ALONE, None)],
)
def test_a_release_is_told_soon_where_a_router_may_lack_room(
    monkeypatch: pytest.MonkeyPatch, registration: Registration, load: LoadReport | None
) -> None:
    site = Site(monkeypatch, registration)
    if load is not None:
        site.session.report(load)
    assert site.release() == ["wake_later"]
