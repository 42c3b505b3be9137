"""The chart takes the values that `pdmesh plan` prints."""

from pathlib import Path

import pytest
import yaml

from services.planner.hardware.engine_spec import EngineSpec
from services.planner.hardware.gpu import gpu_of
from services.planner.hardware.model import model_of
from services.planner.hardware.precision import Precision
from services.planner.planning.candidate import Candidate, Sizes
from services.planner.planning.deployment import helm_values
from tests.deploy.chart import of_kind, render


@pytest.mark.parametrize("candidate", [Candidate(2, 2, 3, 4, 96, threshold=512), Candidate(0, 0, 3, 2, 256)])
def test_planned_values_render(tmp_path: Path, candidate: Candidate) -> None:
    model, gpu, fp8 = model_of("llama-3.1-70b"), gpu_of("h100"), Precision.FP8
    sizes = Sizes({size: EngineSpec(model, gpu, size, fp8, fp8) for size in (2, 4)}, {})
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(helm_values(candidate, sizes, 2_048)))
    found = of_kind(render(str(values)), "Deployment")
    assert found["decode"]["spec"]["replicas"] == candidate.decode
    container = found["decode"]["spec"]["template"]["spec"]["containers"][0]
    assert f"--max-num-seqs={candidate.running_max}" in container["args"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == candidate.decode_tp
    if candidate.prefill:
        assert found["prefill"]["spec"]["replicas"] == candidate.prefill
