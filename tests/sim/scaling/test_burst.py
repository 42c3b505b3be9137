"""What is promised of a burst, in virtual time: held with autoscaling, broken without."""

from dataclasses import replace

import pytest

from services.common.domain import FinishReason, Role
from tests.bench.scaling.verdict import summary
from tests.bench.scaling.virtual import records
from tests.sim.scaling.burst import PROMISED_MS, RULES, of_burst, p95, play

BURST_MS = 60_000.0


@pytest.mark.timeout(600)
def test_a_burst_keeps_what_is_promised() -> None:
    mesh = play(BURST_MS, autoscales=True)
    asked = of_burst(mesh, BURST_MS)
    assert {name: p95(asked, name) < most for name, most in PROMISED_MS.items()} == dict.fromkeys(
        PROMISED_MS, True
    )
    assert {a.end for a in mesh.asked} == {FinishReason.LENGTH}
    assert summary(list(records(mesh)))["failed"] == 0, "as the bench tells it"


@pytest.mark.timeout(600)
def test_one_worker_of_each_does_not() -> None:
    asked = of_burst(play(BURST_MS / 3, autoscales=False), BURST_MS / 3)
    assert p95(asked, "ttft_ms") > PROMISED_MS["ttft_ms"]
    assert p95(asked, "e2e_ms") > PROMISED_MS["e2e_ms"]
    assert p95(asked, "tpot_ms") < PROMISED_MS["tpot_ms"], "a worker's seats bound its steps"


@pytest.mark.timeout(600)
def test_quiet_after_a_burst_ends_workers_and_no_stream() -> None:
    rules = replace(RULES, spares=1, down_cooldown_ms=3_000.0, down_interval_ms=500.0)
    mesh = play(8_000.0, autoscales=True, rules=rules, after_ms=20_000.0)
    assert {a.end for a in mesh.asked} == {FinishReason.LENGTH}
    most = max(m["serving"] for m in mesh.seen if m["tier"] == "decode")
    assert most >= 3
    roles = [engine.role for engine in mesh.engines.values()]
    assert (roles.count(Role.PREFILL), roles.count(Role.DECODE)) == (2, 2)
