"""What operators are told: the bottleneck, pairs, findings, as one line each."""

import json
from pathlib import Path

import pytest

from pdmesh.operator.v1 import operator_pb2 as wire
from services.cli.operator.doctor import of_fleet
from services.cli.operator.dry_run import told
from services.cli.operator.finding import Verdict
from services.cli.operator.fleet import advice, lines
from services.cli.operator.pairs import finding_of
from services.cli.operator.plain import plain
from services.cli.operator.settings import ROUTER, OperatorSettings
from services.cli.table import table
from services.common.domain import Path as RequestPath
from services.common.domain import Role
from services.common.errors import BadSetting
from services.common.rpc.convert import wire_enum

BOTH_TIERS = (("p", Role.PREFILL, "serving"), ("d", Role.DECODE, "serving"))


def fleet(
    *workers: tuple[str, Role, str],
    prefill: int = 0,
    decode: int = 0,
    running: int = 1,
    dimensions: int = 0,
    **fields: int,
) -> wire.DescribeFleetResponse:
    """Workers of one model by name, role and state; requests queued for each tier."""
    queued = ((Role.PREFILL, prefill), (Role.DECODE, decode))
    return wire.DescribeFleetResponse(
        workers=[
            wire.WorkerStatus(
                worker_id=name,
                model="m",
                role=wire_enum(role),
                state=state,
                running_requests=running,
                embedding_dimensions=dimensions,
            )
            for name, role, state in workers
        ],
        tiers=[
            wire.TierStatus(
                model="m",
                role=wire_enum(role),
                queued_requests=count,
                queued_tokens=count * 9,
                serving_workers=sum(of_tier is role and state == "serving" for _, of_tier, state in workers),
            )
            for role, count in queued
        ],
        **fields,
    )


def finding(severity: wire.Severity = wire.SEVERITY_WARNING, **fields: str) -> wire.Finding:
    made = {"kind": "decode_starved", "model": "m", "text": "decode waits", "remedy": "start another"}
    return wire.Finding(severity=severity, **{**made, **fields})


def unwell(*told: wire.Finding) -> wire.DescribeFleetResponse:
    described = fleet(*BOTH_TIERS)
    described.findings.extend(told)
    return described


def test_the_fleet_shows_the_router_s_findings_with_what_helps() -> None:
    assert advice(fleet(*BOTH_TIERS)) == ["m: nothing waits"]
    assert advice(unwell(finding())) == ["m: decode waits: start another"]
    assert advice(unwell(finding(model=""))) == ["decode waits: start another", "m: nothing waits"]


def test_the_fleet_is_two_tables_and_a_summary() -> None:
    shown = lines(fleet(*BOTH_TIERS, open_requests=4, open_handoffs=2))
    assert shown[0].split()[:5] == ["worker", "model", "role", "state", "running"]
    assert [row.split()[:5] for row in shown[1:3]] == [
        ["p", "m", "prefill", "serving", "1"],
        ["d", "m", "decode", "serving", "1"],
    ]
    assert shown[-2:] == [
        "m: nothing waits",
        "4 requests in flight; 2 handoffs open, 0.0 KV block-seconds stranded, 0 leases expired",
    ]


def test_tables_are_aligned() -> None:
    assert table(("name", "n"), [("a", 10), ("bcdef", 9)]) == ["name    n", "a      10", "bcdef   9"]
    assert table(("name",), []) == ["name"]


def test_json_has_every_field() -> None:
    shown = json.loads(json.dumps(plain(fleet(*BOTH_TIERS, decode=2))))
    assert shown["workers"][1]["role"] == "decode"
    assert shown["tiers"][1]["queued_tokens"] == 18
    assert shown["open_handoffs"] == 0


def pair(**fields: object) -> wire.PairStatus:
    fine = {"connector": "nixl", "handoffs": 9, "breaker": "closed", "canary": "equal", "canary_age_s": 4.0}
    return wire.PairStatus(prefill_worker="p", decode_worker="d", **{**fine, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "verdict", "said"),
    [
        (
            pair(
                handoff_address="10.0.0.1:5600",
                transport="tcp (tcp/eth0)",
                handoff_ms=12.34,
                transfer_ms=1.5,
                transfer_gb_per_s=2.5,
            ),
            Verdict.WELL,
            "nixl at 10.0.0.1:5600, tcp (tcp/eth0), 9 handoffs, 0 failed, 12.3 ms each, "
            "the pull 1.5 ms at 2.50 GB/s, breaker closed, canary equal 4 s ago",
        ),
        (pair(canary="unknown", canary_age_s=-1.0), Verdict.NOTE, "no canary yet"),
        (pair(canary="differed_once"), Verdict.NOTE, "another one will confirm"),
        (pair(breaker="half_open"), Verdict.NOTE, "being tried again"),
        (pair(canary="differed", breaker="open"), Verdict.WRONG, "the pair is held"),
        (pair(canary="differed"), Verdict.NOTE, "forgiven, and compared again"),
        (pair(breaker="open", failures=3), Verdict.WRONG, "9 handoffs, 3 failed"),
        (pair(breaker="open", failures=3, failure="firewall: closed"), Verdict.WRONG, "firewall: closed"),
        (
            pair(canary="failed", refusal="address: loopback; set x"),
            Verdict.WRONG,
            "address: loopback; set x",
        ),
        (pair(canary="failed"), Verdict.WRONG, "did not end"),
        (pair(differences=["dtype: a != b"]), Verdict.WRONG, "cannot hand over, dtype: a != b"),
    ],
)
def test_a_pair_is_one_finding(status: wire.PairStatus, verdict: Verdict, said: str) -> None:
    finding = finding_of(status)
    assert finding.verdict is verdict
    assert str(finding).startswith(f"{verdict.value:<6} p -> d: ")
    assert said in str(finding)
    assert bool(finding.remedy) == (verdict is Verdict.WRONG)


@pytest.mark.parametrize(
    ("described", "verdict"),
    [
        (fleet(*BOTH_TIERS), Verdict.WELL),
        (fleet(*BOTH_TIERS, open_handoffs=1, open_requests=1), Verdict.WELL),
        (fleet(("d", Role.DECODE, "serving")), Verdict.NOTE),
        (unwell(finding(wire.SEVERITY_NOTE)), Verdict.NOTE),
        (unwell(finding()), Verdict.WRONG),
        (unwell(finding(wire.SEVERITY_NOTE), finding(wire.SEVERITY_CRITICAL)), Verdict.WRONG),
        (unwell(finding(kind="handoffs_unreleased")), Verdict.WRONG),
    ],
)
def test_the_worst_finding_of_a_fleet(described: wire.DescribeFleetResponse, verdict: Verdict) -> None:
    worst = max((each.verdict for each in of_fleet(described)), key=list(Verdict).index)
    assert worst is verdict


def test_a_pair_is_told_once_by_its_own_line() -> None:
    told = [each.text for each in of_fleet(unwell(finding(kind="pair_held")))]
    assert not any("decode waits" in text for text in told)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"refusal_reason": "queue_full"}, "refused: queue_full"),
        ({"path": RequestPath.LOCAL, "decode_worker": "d"}, "local (why): d"),
        (
            {"path": RequestPath.DISAGGREGATED, "decode_worker": "d", "prefill_worker": "p"},
            "disaggregated (why): p -> d",
        ),
        (
            {"path": RequestPath.DISAGGREGATED, "waits_for": "decode"},
            "disaggregated (why), waits for a decode worker with room",
        ),
    ],
)
def test_a_dry_run_is_one_line(answer: dict[str, object], said: str) -> None:
    assert told(wire.DryRunResponse(path_reason="why", **answer)) == said  # type: ignore[arg-type]


def test_the_router_is_found_by_flag_then_file_then_default(tmp_path: Path) -> None:
    file = tmp_path / "ready.json"
    file.write_text(json.dumps({"urls": {"router": "h:1"}}))
    assert OperatorSettings().address() == ROUTER
    assert OperatorSettings(ready_file=str(file)).address() == "h:1"
    assert OperatorSettings(ready_file=str(file), router="h:2").address() == "h:2"
    for wrong in ("{}", "[]", "no json"):
        file.write_text(wrong)
        with pytest.raises(BadSetting, match="names no router"):
            OperatorSettings(ready_file=str(file)).address()


def test_a_pooling_model_gives_vectors() -> None:
    found, handoffs = of_fleet(fleet(BOTH_TIERS[0], dimensions=8))
    assert (found.verdict, handoffs.verdict) == (Verdict.WELL, Verdict.WELL)
    assert "1 workers give vectors of 8 numbers" in str(found)
