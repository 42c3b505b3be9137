"""Makes the sim engine's profiles of real GPUs: `python -m tools.profiles`. Needs the extra `plan`."""

import sys
from dataclasses import replace
from pathlib import Path

from services.planner.hardware.engine_spec import EngineSpec
from services.planner.hardware.gpu import gpu_of
from services.planner.hardware.model import model_of
from services.planner.hardware.precision import Precision
from services.planner.timing import times_of

DIRECTORY = Path(__file__).parents[1] / "services/worker/engine/sim/profiles"
FP8, BF16 = Precision.FP8, Precision.BF16
PROFILES = (
    ("llama-3.3-70b", "h100", FP8, FP8, (2, 4, 8)),
    ("llama-3.1-8b", "h100", BF16, BF16, (1,)),
    ("llama-3.3-70b", "a100", BF16, BF16, (4,)),
)
"""Model, GPU, formats of weights and KV, GPUs per engine."""


def main() -> int:
    """Write all files."""
    for model, gpu, weights, kv, sizes in PROFILES:
        for size in sizes:
            spec = EngineSpec(model_of(model), gpu_of(gpu), size, weights, kv)
            name = f"{gpu}-{model}-{weights.value}-tp{size}"
            times = replace(times_of(spec).times, name=name).rounded()
            (DIRECTORY / f"{name}.json").write_text(times.to_json(), "utf-8")
            print(f"{name}: {times.source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
