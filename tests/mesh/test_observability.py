"""What Prometheus sees of a live mesh: every panel has data, and every metric is documented."""

import asyncio
import re
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.conftest import SIM
from tests.mesh.harness import Mesh
from tests.mesh.prometheus import Prometheus
from tests.mesh.streams import Load
from tools.dashboards.pages import DASHBOARDS
from tools.docs.metrics_page import names

QUERIES = sorted(
    {query.expression for page in DASHBOARDS for panel in page.panels for query in panel.queries}
)
RATE_INTERVAL = "30s"
ELSEWHERE = ("pdmesh_gateway_key_set_failures", "pdmesh_gateway_retrieval", "pdmesh_gateway_tenants")
"""Metrics of parts that this mesh does not have: a JWT issuer, a retriever, a tenants file."""


@pytest.fixture(scope="module")
def watched(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mesh, Prometheus]]:
    """A mesh that has answered long and short prompts, and a Prometheus that has scraped it."""
    assert shutil.which("prometheus"), "prometheus is missing (on Debian: apt-get install prometheus)"
    directory = tmp_path_factory.mktemp("observed")
    targets = directory / "targets.json"
    flags = ("--prefill", "2", "--decode", "2", "--metrics-targets", str(targets))
    with Mesh(model_dir, directory, *flags, *SIM) as mesh, Prometheus(targets, directory) as prometheus:
        prometheus.wait_for('count(up{job="pdmesh"} == 1) == 6')
        for seed in (1, 2):  # a rate needs two scrapes that differ
            for prompt_tokens in (8, 400):
                load = Load(mesh.url, model_dir, 16, 20, prompt_tokens, seed + prompt_tokens)
                asyncio.run(load.run())
                assert not load.faults()
            prometheus.wait_for(f"sum(pdmesh_gateway_slo_answers_total) >= {32 * seed}")
        yield mesh, prometheus


@pytest.mark.parametrize("expression", QUERIES)
def test_every_panel_has_data(watched: tuple[Mesh, Prometheus], expression: str) -> None:
    _, prometheus = watched
    assert prometheus.wait_for(expression.replace("$__rate_interval", RATE_INTERVAL))


def test_no_alert_fires_on_a_healthy_mesh(watched: tuple[Mesh, Prometheus]) -> None:
    _, prometheus = watched
    assert prometheus.query('ALERTS{alertstate="firing"}') == []


def test_the_page_of_metrics_lists_what_a_live_mesh_shows(watched: tuple[Mesh, Prometheus]) -> None:
    mesh, _ = watched
    shown: set[str] = set()
    for url in mesh.facts["metrics"].values():
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        # Counters, gauges and histograms; untyped are numbers that one kind of engine has beside the others.
        shown |= set(re.findall(r"^# TYPE (pdmesh_\w+) [cgh]", text, re.MULTILINE))
    shown = {name.removesuffix("_total") for name in shown if not name.endswith("_created")}
    documented = {name.removesuffix("_total") for name in names()}
    assert shown <= documented, shown - documented
    missing = {name for name in documented - shown if not name.startswith(ELSEWHERE)}
    assert missing == set()
