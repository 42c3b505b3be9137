"""A real Prometheus that scrapes a mesh, for as long as a test needs it."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from random import Random
from typing import Any

import yaml

from services.cli.ports import free_ports
from tests.tidy.source import ROOT

RULES = ROOT / "deploy/prometheus/alerts.yaml"
SCRAPE_S = 1
POLL_S = 0.2


class Prometheus:
    """Use as a context manager; scrapes what a file of targets names, by the project's rules."""

    def __init__(self, targets: Path, directory: Path) -> None:
        self._directory = directory
        self._port = next(free_ports(Random()))
        config = {
            "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {
                    "job_name": "pdmesh",
                    "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}],
                }
            ],
        }
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Prometheus":
        command = [
            "prometheus",
            f"--config.file={self._directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        with (self._directory / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now."""
        asked = urllib.parse.urlencode({"query": expression})
        url = f"http://127.0.0.1:{self._port}/api/v1/query?{asked}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def wait_for(self, expression: str, timeout_s: float = 60.0) -> list[dict[str, Any]]:
        """The series of an expression once there are any; raises `TimeoutError`."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            try:
                if found := self.query(expression):
                    return found
            except OSError:
                pass  # it has not begun to listen
            time.sleep(POLL_S)
        log = (self._directory / "prometheus.log").read_text()
        raise TimeoutError(f"no data for {expression}\n{log[-2_000:]}")
