"""A worker that dies again and again costs the mesh that worker and nothing else."""

import contextlib
import os
import signal
from pathlib import Path

from tests.mesh.conftest import SIM
from tests.mesh.harness import Mesh, run_cli


def test_a_mesh_serves_on_while_one_of_two_decode_workers_dies_again_and_again(
    model_dir: Path, tmp_path: Path
) -> None:
    with Mesh(model_dir, tmp_path, "--decode", "2", *SIM) as mesh:
        fleet = ["fleet", "--ready-file", str(mesh.ready_file)]

        def is_given_up() -> bool:
            with contextlib.suppress(ProcessLookupError):
                if (pid := mesh.loading("decode-1")) is not None:
                    os.kill(pid, signal.SIGKILL)
            return "decode-1 is given up" in mesh.said

        mesh.wait_until(is_given_up, "end of attempts", 120.0)
        mesh.wait_until(lambda: "decode-1 cannot be kept running" in run_cli(fleet).stdout, "finding", 60.0)
        asked = run_cli(["chat", "w1 w2", "--max-tokens", "4", "--url", mesh.url])
        assert (asked.returncode, asked.stderr) == (0, "")
        assert mesh.stop() == 0
