"""Each alert fires on the series that it is there for, stays silent beside it, and has a runbook."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.chart import of_kind, render
from tests.tidy.source import ROOT
from tools.docs.metrics_page import names

RULES = ROOT / "deploy/helm/pdmesh/files/alerts.yaml"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
SEVERITIES = {"critical", "warning"}

LONG, SHORT = 8 * 60, 150
"""Minutes played: more than the longest window looks back, and more than any other does."""
MODEL = 'model="m"'
OF_TIER = 'model="m",tier="decode",instance="r"'
ANSWERS = 'model="m",path="local",class="standard"'
FINDING = 'pdmesh_router_findings{{model="m",kind="{}",severity="{}"}}'


def steady(value: float) -> str:
    return f"{value}x{LONG}"


def rising(per_minute: float) -> str:
    return f"0+{per_minute}x{LONG}"


def requests(failed: float) -> dict[str, str]:
    series = 'pdmesh_gateway_requests_total{{route="/v1/chat/completions",status="{}"}}'
    return {series.format(200): rising(1_000.0 - failed), series.format(503): rising(failed)}


def histogram(name: str, labels: str, bound: str, fast: float, slow: float) -> dict[str, str]:
    """A histogram with so many observations a minute up to a bound, and so many above it."""
    return {
        f'{name}_bucket{{{labels},le="{bound}"}}': rising(fast),
        f'{name}_bucket{{{labels},le="+Inf"}}': rising(fast + slow),
        f"{name}_count{{{labels}}}": rising(fast + slow),
    }


def found(kind: str, severity: str = "warning") -> dict[str, str]:
    return {FINDING.format(kind, severity): steady(1)}


def ttft(slow: float) -> dict[str, str]:
    return histogram("pdmesh_gateway_ttft_seconds", ANSWERS, "0.6", 100.0 - slow, slow)


def tpot(slow: float) -> dict[str, str]:
    return histogram("pdmesh_gateway_tpot_seconds", ANSWERS, "0.04", 100.0 - slow, slow)


def refused(reason: str, per_minute: float) -> dict[str, str]:
    name = f'pdmesh_gateway_refusals_total{{route="/v1/chat/completions",reason="{reason}"}}'
    return requests(0.0) | {name: rising(per_minute)}


def placed(fallbacks: float, reason: str = "handoff_failed") -> dict[str, str]:
    series = 'pdmesh_router_placements_total{{path="{}",reason="{}"}}'
    return {
        series.format("local", reason): rising(fallbacks),
        series.format("local", "short_prompt"): rising(50.0),
        series.format("disaggregated", "long_prompt"): rising(50.0 - fallbacks),
    }


def kv(taken: float) -> dict[str, str]:
    return {
        f"pdmesh_router_kv_blocks{{{OF_TIER}}}": steady(100),
        f"pdmesh_router_kv_blocks_reserved{{{OF_TIER}}}": steady(taken),
    }


def workers(wanted: float, attached: float) -> dict[str, str]:
    return {
        f"pdmesh_router_desired_replicas{{{OF_TIER}}}": steady(wanted),
        f"pdmesh_router_attached_workers{{{OF_TIER}}}": steady(attached),
    }


def needed(workers: float) -> dict[str, str]:
    return {
        f"pdmesh_router_needed_workers{{{OF_TIER}}}": steady(workers),
        f"pdmesh_router_replicas_max{{{OF_TIER}}}": steady(4),
    }


def output(late_per_minute: float) -> dict[str, str]:
    """Tokens that come steadily, and another pace in the last twenty minutes."""
    usual, start = SHORT - 20, 6_000 * (SHORT - 20)
    return {
        f"pdmesh_gateway_generated_tokens_total{{{ANSWERS}}}": (
            f"0+6000x{usual} {start}+{late_per_minute}x40"
        ),
        'pdmesh_router_open_requests{instance="r"}': steady(50),
    }


def gauge(series: str, value: float) -> dict[str, str]:
    return {series: steady(value)}


PAIR_REASONS = ("pair_suspended", "pair_refused", "pair_untried")

Series = dict[str, str]
CASES: dict[str, tuple[Series, Series]] = {
    "PdmeshAvailabilityBurnFast": (requests(30.0), requests(10.0)),
    "PdmeshAvailabilityBurnSlow": (requests(10.0), requests(3.0)),
    "PdmeshTtftBurnFast": (ttft(80.0), ttft(40.0)),
    "PdmeshTtftBurnSlow": (ttft(40.0), ttft(4.0)),
    "PdmeshTpotBurnFast": (tpot(80.0), tpot(40.0)),
    "PdmeshTpotBurnSlow": (tpot(40.0), tpot(4.0)),
    "PdmeshTtftP99High": (
        histogram("pdmesh_gateway_ttft_seconds", ANSWERS, "4.0", 100.0, 0.0),
        histogram("pdmesh_gateway_ttft_seconds", ANSWERS, "2.0", 100.0, 0.0),
    ),
    "PdmeshThroughputDropped": (output(3_000.0), output(6_000.0)),
    "PdmeshKvNearlyFull": (kv(95.0), kv(85.0)),
    "PdmeshQueueLong": (
        gauge(f"pdmesh_router_queue_requests{{{OF_TIER}}}", 1_001),
        gauge(f"pdmesh_router_queue_requests{{{OF_TIER}}}", 1_000),
    ),
    "PdmeshPrefillStarved": (found("prefill_starved"), found("prefill_starved", "note")),
    "PdmeshDecodeStarved": (found("decode_starved", "critical"), found("decode_starved", "note")),
    "PdmeshKvFull": (found("kv_full"), found("worker_slow")),
    "PdmeshWorkerSlow": (found("worker_slow"), found("kv_full")),
    "PdmeshNoWorker": (found("no_worker", "critical"), found("kv_full")),
    "PdmeshRefusals": (refused("kv_memory_full", 20.0), refused("invalid_field", 500.0)),
    "PdmeshQuotaRefusals": (
        requests(0.0) | {'pdmesh_gateway_quota_refusals_total{limit="tokens"}': rising(100.0)},
        requests(0.0) | {'pdmesh_gateway_quota_refusals_total{limit="tokens"}': rising(10.0)},
    ),
    "PdmeshHandoffsUnreleased": (
        gauge('pdmesh_router_unreleased_handoffs{instance="r"}', 1),
        gauge('pdmesh_router_unreleased_handoffs{instance="r"}', 0),
    ),
    "PdmeshHandoffsExpired": (
        {'pdmesh_router_expired_handoffs{instance="r"}': rising(1.0)},
        gauge('pdmesh_router_expired_handoffs{instance="r"}', 7),
    ),
    "PdmeshKvStranded": (
        gauge('pdmesh_router_stranded_block_seconds{instance="r"}', 9_000),
        gauge('pdmesh_router_stranded_block_seconds{instance="r"}', 90),
    ),
    "PdmeshFallbacks": (placed(20.0), placed(1.0)),
    "PdmeshHandoffSlow": (
        histogram("pdmesh_router_phase_seconds", 'phase="handoff"', "2.5", 100.0, 0.0),
        histogram("pdmesh_router_phase_seconds", 'phase="handoff"', "0.05", 100.0, 0.0),
    ),
    "PdmeshPairUnusable": (
        gauge('pdmesh_router_pair_usable{prefill_worker="p",decode_worker="d"}', 0),
        gauge('pdmesh_router_pair_usable{prefill_worker="p",decode_worker="d"}', 1),
    ),
    "PdmeshSentinelMismatch": (found("pair_held", "critical"), found("pair_suspended")),
    "PdmeshQuarantine": (
        gauge('pdmesh_router_quarantined_prompts{instance="r"}', 1),
        gauge('pdmesh_router_quarantined_prompts{instance="r"}', 0),
    ),
    "PdmeshWorkerSuspended": (
        gauge('pdmesh_router_workers{model="m",role="decode",state="suspended"}', 1),
        gauge('pdmesh_router_workers{model="m",role="decode",state="standby"}', 1),
    ),
    "PdmeshScalerAtBound": (needed(4.5), needed(4.0)),
    "PdmeshWorkersMissing": (workers(3.0, 2.0), workers(2.0, 2.0)),
    "PdmeshColdStartSlow": (
        gauge(f"pdmesh_router_cold_start_seconds{{{OF_TIER}}}", 700),
        gauge(f"pdmesh_router_cold_start_seconds{{{OF_TIER}}}", 90),
    ),
    "PdmeshWorkersFlap": (
        {'pdmesh_router_workers{model="m",role="decode",state="serving"}': "1 2 " * (LONG // 2)},
        gauge('pdmesh_router_workers{model="m",role="decode",state="serving"}', 2),
    ),
    "PdmeshRouterAway": (
        gauge('pdmesh_gateway_router_attached{instance="g"}', 0),
        gauge('pdmesh_gateway_router_attached{instance="g"}', 1),
    ),
    "PdmeshProcessDown": (
        gauge('up{job="pdmesh",instance="g",service="gateway"}', 0),
        gauge('up{job="pdmesh",instance="g",service="gateway"}', 1),
    ),
    "PdmeshStoreAway": (
        gauge('pdmesh_gateway_usage_store_up{instance="g"}', 0),
        gauge('pdmesh_router_store_up{instance="r"}', 1),
    ),
    "PdmeshUsageWaiting": (
        gauge('pdmesh_gateway_usage_waiting{instance="g"}', 20_000),
        gauge('pdmesh_gateway_usage_waiting{instance="g"}', 200),
    ),
    "PdmeshUsageLost": (
        {'pdmesh_gateway_usage_lost_total{instance="g"}': rising(1.0)},
        gauge('pdmesh_gateway_usage_lost_total{instance="g"}', 3),
    ),
    "PdmeshCertificateEndsSoon": (
        gauge('pdmesh_certificate_expires_timestamp_seconds{file="tls.crt",instance="g"}', 10 * 86_400),
        gauge('pdmesh_certificate_expires_timestamp_seconds{file="tls.crt",instance="g"}', 90 * 86_400),
    ),
    "PdmeshTenantsStale": (
        gauge('pdmesh_gateway_tenants_stale{instance="g"}', 1),
        gauge('pdmesh_gateway_tenants_stale{instance="g"}', 0),
    ),
    "PdmeshEventLoopLag": (
        histogram("pdmesh_gateway_loop_lag_seconds", 'instance="g"', "0.5", 100.0, 0.0),
        histogram("pdmesh_gateway_loop_lag_seconds", 'instance="g"', "0.05", 100.0, 0.0),
    ),
    "PdmeshMemoryGrows": (
        {'process_resident_memory_bytes{job="pdmesh",instance="g"}': f"600000000+20000000x{LONG}"},
        gauge('process_resident_memory_bytes{job="pdmesh",instance="g"}', 900e6),
    ),
    "PdmeshSlowReaders": (
        {'pdmesh_gateway_slow_readers_total{instance="g"}': rising(60.0)},
        {'pdmesh_gateway_slow_readers_total{instance="g"}': rising(1.0)},
    ),
}
"""By alert: series on which it fires, and series beside them on which it does not."""


def case(alert: str, series: Series, *, fires: bool) -> dict[str, Any]:
    """What promtool is to play, and whether the alert fires at the end."""
    minutes = LONG if alert.endswith("BurnSlow") else SHORT
    expected = [{"labels": "{}", "value": 1}] if fires else []
    query = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    return {
        "name": f"{alert} {'fires' if fires else 'is silent'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": f"{minutes}m", "exp_samples": expected}],
    }


def test_each_alert_fires_on_its_series_and_is_silent_beside_them(tmp_path: Path) -> None:
    assert set(CASES) == set(ALERTS)
    played = [
        case(alert, series, fires=fires)
        for alert, both in CASES.items()
        for series, fires in zip(both, (True, False), strict=True)
    ]
    played += [case("PdmeshFallbacks", placed(20.0, reason), fires=True) for reason in PAIR_REASONS]
    file = tmp_path / "alerts_test.yaml"
    order = [group["name"] for group in GROUPS]
    head = {"rule_files": [str(RULES)], "evaluation_interval": "10m", "group_eval_order": order}
    file.write_text(yaml.safe_dump({**head, "tests": played}))
    result = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_alert_says_how_urgent_it_is_and_where_its_runbook_is() -> None:
    runbooks = (ROOT / "docs/runbooks.md").read_text()
    sections = set(re.findall(r"^## (\w+)$", runbooks, re.MULTILINE))
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in SEVERITIES
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
    assert sections == set(ALERTS)


def test_alerts_read_metrics_that_there_are() -> None:
    known = {name.removesuffix("_total") for name in names()}
    for name, rule in ALERTS.items():
        read = set(re.findall(r"pdmesh_\w+", rule["expr"]))
        bare = {re.sub(r"_(total|bucket|count|sum)$", "", metric) for metric in read}
        assert bare <= known, f"{name} reads {bare - known}"


@pytest.mark.parametrize("enabled", [True, False])
def test_the_chart_brings_the_same_rules(enabled: bool) -> None:
    manifests = render("", "model.path=/models/demo", f"monitors.rules={str(enabled).lower()}")
    found = of_kind(manifests, "PrometheusRule")
    assert [rule["spec"]["groups"] for rule in found.values()] == ([GROUPS] if enabled else [])
