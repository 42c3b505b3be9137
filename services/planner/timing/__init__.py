"""Where an engine's step times come from: `measured`, else `roofline`; either `fitted` to whole engines.

    times = times_of(engine_spec)
    times.source, times.step_ms(chunks, decoding, context_tokens)

All three sources give one form, `StepTimes`, which the sim engine takes too.
"""

from services.planner.timing.find import Timings, times_of

__all__ = ["Timings", "times_of"]
