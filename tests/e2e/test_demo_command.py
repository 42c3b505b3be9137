"""`pdmesh demo` with the committed model and real vLLM: the right answer, over the disaggregated path."""

from pathlib import Path

import pytest

from services.cli.demo_question import RIGHT_ANSWER
from tests.mesh.harness import run_cli

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(500)]

START_S_MAX = 400.0


def test_the_demo_is_right(tmp_path: Path) -> None:
    shown = run_cli(["demo", "--once", "--port", "0", "--log-dir", str(tmp_path)], timeout=START_S_MAX)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "  path              disaggregated" in shown.stdout.splitlines()
    answer = shown.stdout.partition("Answer\n")[2].splitlines()
    assert answer[0].strip() == RIGHT_ANSWER
    assert answer[1].strip().startswith("Right")
