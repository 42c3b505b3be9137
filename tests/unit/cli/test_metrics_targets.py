"""Where Prometheus finds the processes of a mesh."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from services.cli.metrics_targets import MetricsTargets
from services.cli.ready_file import metrics_urls
from services.cli.serve import certificates_of, metrics_url
from services.common.credentials import MeshSettings, TlsSettings
from services.decode.settings import Settings as DecodeSettings
from services.gateway.settings import Settings as GatewaySettings
from services.router.settings import Settings as RouterSettings
from services.worker.settings import WorkerSettings


def child(service: str, **facts: str) -> Any:
    return SimpleNamespace(spec=SimpleNamespace(service=service), facts=facts or None)


CHILDREN = {
    "gateway": child("gateway", url="https://127.0.0.1:8000"),
    "decode-1": child("decode", url="127.0.0.1:7000", metrics="http://127.0.0.1:7001/metrics"),
    "router": child("router", url="127.0.0.1:9000"),
    "prefill-1": child("prefill"),
}


def test_each_process_that_serves_and_shows_metrics_is_a_target(tmp_path: Path) -> None:
    file = tmp_path / "targets.json"
    MetricsTargets(str(file)).write(CHILDREN)
    groups = {group["labels"]["process"]: group for group in json.loads(file.read_text())}
    assert set(groups) == {"gateway", "decode-1"}
    assert groups["gateway"]["targets"] == ["127.0.0.1:8000"]
    assert groups["gateway"]["labels"]["__scheme__"] == "https"
    assert groups["decode-1"]["labels"] == {"service": "decode", "process": "decode-1", "__scheme__": "http"}
    MetricsTargets("").write(CHILDREN)


def test_a_file_that_cannot_be_written_harms_nothing(tmp_path: Path) -> None:
    MetricsTargets(str(tmp_path / "no" / "targets.json")).write(CHILDREN)


def test_a_process_says_where_its_metrics_are_if_it_has_a_port_for_them() -> None:
    assert metrics_url(RouterSettings(metrics_port=0)) == {}
    assert metrics_url(RouterSettings(metrics_port=9100, host="::1")) == {
        "metrics": "http://[::1]:9100/metrics"
    }
    worker = DecodeSettings(worker=WorkerSettings(model="m", metrics_port=9200))
    assert metrics_url(worker) == {"metrics": "http://127.0.0.1:9200/metrics"}
    assert metrics_urls({"edge": child("edge", url="http://h:1")}) == {"edge": "http://h:1/metrics"}


def test_all_certificates_that_a_process_shows_are_watched() -> None:
    mesh, tls = MeshSettings(tls_cert="m.pem", tls_key="k"), TlsSettings(cert="t.pem", key="k")
    settings = GatewaySettings(model="m", mesh=mesh, tls=tls)
    assert sorted(certificates_of(settings)) == ["m.pem", "t.pem"]
