"""The virtual engine against the sim engine's scheduler: the same jobs end at the same steps."""

from collections import defaultdict
from dataclasses import dataclass
from random import Random

import pytest

from services.common.domain import Job, JobKind, Sampling, StepOutput
from services.common.domain.tokens import tokens
from services.planner.world.engine import EngineLimits, StepNews, VirtualEngine
from services.planner.world.sequence import Sequence
from services.planner.world.timeline import Timeline
from services.worker.engine.sim import Vocabulary
from services.worker.engine.sim.blocks import BlockPool
from services.worker.engine.sim.continuation import Continuation
from services.worker.engine.sim.scheduler import Scheduler
from services.worker.engine.sim.sequence import Sequence as SimSequence
from services.worker.engine.sim.step_times import Curve, StepTimes, Surface

BLOCK = 16
ZERO = Curve((1, 2), (0.0, 0.0))
STEADY = StepTimes("steady", "fitted", Curve((1, 2), (1.0, 1.0)), Surface((1,), (ZERO,)), ZERO, 1, 1)
"""Every step takes a millisecond."""


@dataclass(frozen=True)
class Arrival:
    """A job that is there before a step."""

    step: int
    prompt: int
    answer: int


@dataclass(frozen=True)
class Life:
    """The number of the step after which a job had its first token, and its last."""

    first: int
    last: int


def by_the_sim_engine(arrivals: list[Arrival], limits: EngineLimits) -> dict[int, Life]:
    pool = BlockPool(limits.kv_blocks, BLOCK, prefix_caching=False)
    scheduler = Scheduler(pool, running_max=limits.running_max, batched_tokens_max=limits.batched_tokens_max)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    step = 0
    while len(last) < len(arrivals):
        for number, arrival in enumerate(arrivals):
            if arrival.step == step:
                scheduler.add(sim_sequence(number, arrival))
        output = StepOutput()
        plan = scheduler.plan()
        step += 1
        for sequence in scheduler.commit(plan, output):
            scheduler.first_token(sequence, output)
        for stream in output.tokens.streams:
            first.setdefault(stream, step)
        last |= {finished.stream: step for finished in output.finished}
    return {stream: Life(first[stream], last[stream]) for stream in last}


def job(number: int, arrival: Arrival) -> Job:
    sampling = Sampling(max_tokens=arrival.answer)
    return Job(number, JobKind.LOCAL, "", tokens([7]) * arrival.prompt, sampling)


def sim_sequence(number: int, arrival: Arrival) -> SimSequence:
    asked = job(number, arrival)
    rules = Continuation(asked.prompt, asked.sampling, Vocabulary(), length_max=100_000)
    return SimSequence.of(asked, rules, 0.0)


def by_counts(arrivals: list[Arrival], limits: EngineLimits) -> tuple[dict[int, Life], VirtualEngine]:
    timeline = Timeline()
    times: dict[int, list[float]] = defaultdict(list)

    def take(news: StepNews) -> None:
        for sequence in news.ended:
            times[sequence.job.stream].append(timeline.now_ms)
        for sequence in news.prefilled:
            times[sequence.job.stream].append(timeline.now_ms)
            if sequence.length + 1 == sequence.end_length:
                engine.remove(sequence)
            else:
                engine.first_token(sequence)

    engine = VirtualEngine(timeline, STEADY, limits, on_news=take, on_pull=lambda _: None)
    for number, arrival in enumerate(arrivals):
        asked = job(number, arrival)
        sequence = Sequence(asked, arrival.prompt, arrival.prompt + arrival.answer)
        # Half a step early is in time for a step, and nobody comes while the engine is idle.
        timeline.at(arrival.step - 0.5 if arrival.step else 0.0, lambda each=sequence: engine.add(each))
    timeline.run(1e7)
    return {number: Life(round(each[0]), round(each[-1])) for number, each in times.items()}, engine


def random_arrivals(seed: int, number: int) -> list[Arrival]:
    chance = Random(seed)
    first = Arrival(0, 20, 3_000)  # keeps the engine busy, so that steps have numbers
    return [
        first,
        *(
            Arrival(
                chance.randint(1, 1_500),
                chance.choice([1, 15, 16, 17, 90, 300]),
                chance.choice([1, 2, 40, 200]),
            )
            for _ in range(number)
        ),
    ]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "limits",
    [
        EngineLimits(10_000, BLOCK, 64, 256),
        EngineLimits(10_000, BLOCK, 5, 128),
        EngineLimits(260, BLOCK, 64, 128),
    ],
    ids=["roomy", "few seats", "little KV"],
)
def test_every_job_ends_at_the_same_step(seed: int, limits: EngineLimits) -> None:
    arrivals = random_arrivals(seed, 60)
    counted, engine = by_counts(arrivals, limits)
    assert counted == by_the_sim_engine(arrivals, limits)
    assert engine.kv.held == 0


@pytest.mark.parametrize("seed", range(6))
def test_preemption_takes_the_same_jobs(seed: int) -> None:
    first, *rest = random_arrivals(seed, 40)
    arrivals = [first, *(Arrival(arrival.step // 3 + 1, 300, 200) for arrival in rest)]
    limits = EngineLimits(190, BLOCK, 64, 128)
    counted, engine = by_counts(arrivals, limits)
    assert engine.meter.preemptions > 10
    assert counted == by_the_sim_engine(arrivals, limits)
    assert engine.kv.held == 0
