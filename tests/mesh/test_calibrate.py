"""`pdmesh calibrate` against a mesh whose engines' times are known."""

from pathlib import Path

from services.cli.main import main
from services.worker.engine.sim.profiles import find_times
from tests.mesh.harness import Mesh

ENGINE = ("--engine", "sim", "--engine-arg", "step-ms=20", "--engine-arg", "sequence-us=2000")
"""So slow that a busy machine's own time hardly shows: 22 ms for one sequence, 28 for four."""


def test_a_profile_is_learnt_and_the_sim_engine_takes_it(model_dir: Path, tmp_path: Path, capsys) -> None:
    profile = tmp_path / "mine.json"
    with Mesh(model_dir, tmp_path, *ENGINE, "--engine-arg", "prefill-tokens-per-s=5000") as mesh:
        words = ["calibrate", "--url", mesh.url, "--out", str(profile), "--repeats", "2"]
        sizes = ["--longest-prompt", "512", "--most-at-once", "4", "--answer-tokens", "12"]
        assert main([*words, *sizes]) == 0
    assert "mean residual" in capsys.readouterr().out
    times = find_times(str(profile))
    assert times.source == "fitted"
    assert times.kv_token_bytes > 0
    # A real clock only ever adds to what the engine was told to take.
    assert times.decode_ms(1, 64) > 15
    assert times.step_ms([(512, 0)], 0, 0) > 80
