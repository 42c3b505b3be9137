"""One engine without a router, as published benchmarks of an engine measure it."""

from itertools import count

from services.common.domain import Job, JobKind, Sampling
from services.common.domain.tokens import no_tokens
from services.planner.load.ask import Ask
from services.planner.load.sources import Source
from services.planner.results.tally import Tally
from services.planner.world.callers import Callers
from services.planner.world.engine import EngineLimits, StepNews, VirtualEngine
from services.planner.world.sequence import Sequence
from services.planner.world.timeline import Timeline
from services.worker.engine.sim.step_times import StepTimes


class SingleEngine(Timeline):
    """Every request goes to the engine at once."""

    def __init__(self, times: StepTimes, limits: EngineLimits, *, seed: int = 1) -> None:
        super().__init__()
        self.tally = Tally()
        self.engine = VirtualEngine(self, times, limits, on_news=self._on_news, on_pull=lambda _: None)
        self.callers = Callers(self, self, self.tally, front_ms=times.front_ms, seed=seed)
        self._numbers = count(1)

    def play(self, source: Source) -> Tally:
        """Let the load run to its end."""
        source.begin(self.callers)
        while self.run_next():
            pass
        return self.tally

    def submit(self, stream: int, ask: Ask) -> None:
        """Take a request in."""
        job = Job(stream, JobKind.LOCAL, "", no_tokens(), Sampling(max_tokens=ask.answer_tokens))
        end = ask.prompt_tokens + ask.answer_tokens
        self.engine.add(Sequence(job, ask.prompt_tokens, end, ask.pieces))

    def _on_news(self, news: StepNews) -> None:
        for sequence in news.ended:
            self.callers.ended(sequence.job.stream)
        for sequence in news.prefilled:
            self.callers.first_token(sequence.job.stream)
            if sequence.length + 1 >= sequence.end_length:
                self.engine.remove(sequence)
                self.callers.ended(sequence.job.stream)
            else:
                self.engine.first_token(sequence)
