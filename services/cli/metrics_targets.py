"""The file by which Prometheus finds every process of a mesh, workers that come later included."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from services.cli.child import Child
from services.cli.ready_file import metrics_urls, replace_json


class MetricsTargets:
    """Target groups for Prometheus' `file_sd_configs`, with service and process as labels."""

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None

    def write(self, children: Mapping[str, Child]) -> None:
        """Replace the file by what serves now."""
        if self._path is None:
            return
        urls = sorted(metrics_urls(children).items())
        groups = [_group(name, children[name].spec.service, urlsplit(url)) for name, url in urls]
        replace_json(self._path, groups, "metrics-targets")


def _group(name: str, service: str, url: SplitResult) -> dict[str, object]:
    labels = {"service": service, "process": name, "__scheme__": url.scheme}
    return {"targets": [url.netloc], "labels": labels}
