"""A decode worker with the sim engine whose streams tick each by itself: `... spread serve decode --flags`.

Engines step all sequences together; the fake engine behind HTTP peers need not. This one gives pdmesh
the same pacing: each stream's news leaves the engine at the stream's own moment of the step, as a step of
its own.
"""

import asyncio
import sys
from array import array

from services.cli.main import main
from services.common.domain import JobFinished, Role, StepOutput
from services.common.domain.tokens import tokens
from services.worker import factory
from services.worker.engine import Engine, EngineSink
from services.worker.engine import sim as sim_engine
from services.worker.engine.sim.options import parse
from services.worker.engine_arguments import EngineArguments
from services.worker.settings import WorkerSettings

GOLDEN = 0.618_033_988_75
"""Successive multiples of it, modulo one, are spread evenly however many there are."""


class SpreadSink:
    """Passes an engine's news on, each stream's tokens at its own part of the step."""

    def __init__(self, sink: EngineSink, step_ms: float) -> None:
        self._sink, self._step_s = sink, step_ms / 1e3

    def on_step(self, output: StepOutput) -> None:
        """Everything but tokens and ends at once."""
        columns, ends = output.tokens, {end.stream: end for end in output.finished}
        output.tokens, output.finished = type(columns)(), []
        if output.has_news():
            self._sink.on_step(output)
        at = 0
        for stream, count in zip(columns.streams, columns.counts, strict=True):
            ids = columns.token_ids[at : at + count]
            at += count
            self._later(stream, ids, ends.pop(stream, None))
        for stream, end in ends.items():
            self._later(stream, tokens(()), end)

    def on_engine_dead(self, why: str) -> None:
        """At once."""
        self._sink.on_engine_dead(why)

    def _later(self, stream: int, ids: "array[int]", end: JobFinished | None) -> None:
        def tell() -> None:
            output = StepOutput(finished=[end] if end is not None else [])
            if len(ids):
                output.tokens.add(stream, ids)
            self._sink.on_step(output)

        asyncio.get_running_loop().call_later(self.phase(stream) * self._step_s, tell)

    @staticmethod
    def phase(stream: int) -> float:
        """The stream's part of the step, from 0 to 1."""
        return stream * GOLDEN % 1.0


def spread_sim(settings: WorkerSettings, arguments: EngineArguments, role: Role) -> Engine:
    """The sim engine with such a sink."""
    pairs = arguments.pairs()
    engine = sim_engine.create(settings.model, settings.name, role, pairs)
    step_ms, start = parse(pairs).profile.step_ms, engine.start
    engine.start = lambda sink: start(SpreadSink(sink, step_ms))  # type: ignore[method-assign]
    return engine


if __name__ == "__main__":
    factory._FACTORIES["sim"] = spread_sim
    sys.exit(main())
