"""The best step times that there are for an engine."""

from dataclasses import dataclass

from services.planner.hardware.engine_spec import EngineSpec
from services.planner.silicon import NotMeasured
from services.planner.timing.host import VLLM
from services.planner.timing.measured import measured
from services.planner.timing.roofline import Coefficients, roofline
from services.worker.engine.sim.step_times import StepTimes


@dataclass(frozen=True, slots=True)
class Timings:
    """An engine's times and, where they are not measured, why not."""

    times: StepTimes
    note: str = ""
    """One sentence for the output; empty for measured times."""


def times_of(spec: EngineSpec, coefficients: Coefficients | None = None) -> Timings:
    """Measured kernels with the constants learnt for vLLM's host; else the roofline, and why."""
    try:
        kernels = measured(spec)
    except NotMeasured as error:
        note = f"no measured kernels for {spec.label}, so its times are a roofline's: {error}"
        return Timings(roofline(spec, coefficients), note)
    return Timings(kernels.with_host(VLLM))
