"""When certificates end, as an alert reads it."""

from pathlib import Path

from cryptography import x509
from prometheus_client import CollectorRegistry

from services.common.telemetry import CertificateCollector
from tests.certificates import Authority

NAME = "pdmesh_certificate_expires_timestamp_seconds"


def test_the_end_of_each_certificate_is_shown_and_what_is_none_is_passed_over(tmp_path: Path) -> None:
    shown = Authority(tmp_path).issue("gateway").cert
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    registry = CollectorRegistry()
    registry.register(CertificateCollector([shown, str(broken), str(tmp_path / "gone.pem"), ""]))
    ends = x509.load_pem_x509_certificate(Path(shown).read_bytes()).not_valid_after_utc.timestamp()
    assert registry.get_sample_value(NAME, {"file": "gateway.pem"}) == ends
    (family,) = registry.collect()
    assert len(family.samples) == 1
