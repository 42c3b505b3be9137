"""The search: families of fleets by an estimate's cost, each grown or shrunk until the simulator is content.

A family fixes how engines are made: aggregated or not, and GPUs per worker of each tier. Within one, the tier
grows whose bound is missed; once all are kept, it is tried with one worker less of each.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from services.planner.planning.candidate import Candidate, Judged, Sizes, Trial
from services.planner.planning.estimate import (
    RUNNING_MAX,
    aggregated_workers,
    decode_workers,
    largest_batch,
    prefill_workers,
)
from services.planner.planning.target import Target
from services.planner.world.link import LinkRates

FAMILIES_MAX = 4
"""Of each kind, aggregated and disaggregated, so many are simulated: the cheapest by the estimate."""
STEPS_MAX = 10
"""Simulations of one family."""
RUNNING_SLACK = 1.25
"""A decode engine may run so many times the batch that keeps the promise on average."""

Judge = Callable[[Candidate], Judged]


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched, and within which bounds."""

    sizes: Sizes
    target: Target
    gpus_max: int
    link: LinkRates
    price_per_gpu_hour: float
    warm_up_ms: float
    seed: int = 1

    def trial(self, candidate: Candidate) -> Trial:
        """Of one candidate."""
        return Trial(
            candidate,
            self.sizes,
            self.target,
            self.link,
            self.price_per_gpu_hour,
            self.warm_up_ms,
            self.seed,
        )

    def families(self) -> list[Candidate]:
        """Where each family begins, the cheapest of each kind."""
        found = []
        for kind in (self._aggregated(), self._disaggregated()):
            found += sorted(kind, key=lambda c: (c.gpus, -c.decode_tp))[:FAMILIES_MAX]
        return found or list(self._largest())

    def _largest(self) -> Iterator[Candidate]:
        """Where the estimate finds nothing quick enough: the most there may be, to see how near it comes."""
        for size, spec in self.sizes.specs.items():
            workers = self.gpus_max // size
            if workers:
                yield Candidate(0, 0, workers, size, spec.running_max)
            if workers > 1:
                prefill = max(1, workers // 3)
                yield Candidate(prefill, size, workers - prefill, size, spec.running_max)

    def run(self, executor: Executor) -> list[Judged]:
        """All candidates that were simulated, each once."""
        begun = [executor.submit(climb, self, first) for first in self.families()]
        judged = {each.candidate: each for future in begun for each in future.result()}
        return sorted(judged.values(), key=lambda each: (each.candidate.gpus, each.candidate.label))

    def _aggregated(self) -> Iterator[Candidate]:
        for size, times in self.sizes.times.items():
            spec = self.sizes.specs[size]
            workers = aggregated_workers(self.target, times, spec.batched_tokens_max, spec.kv_tokens)
            if workers is not None:
                yield self._bounded(Candidate(0, 0, workers, size, spec.running_max))

    def _disaggregated(self) -> Iterator[Candidate]:
        for decode_tp, decode_times in self.sizes.times.items():
            decoding = largest_batch(self.target, decode_times, self.sizes.specs[decode_tp].kv_tokens)
            if decoding is None:
                continue
            running = min(RUNNING_MAX, max(8, int(decoding.running * RUNNING_SLACK)))
            decode = decode_workers(self.target, decoding)
            for prefill_tp, times in self.sizes.times.items():
                spec = self.sizes.specs[prefill_tp]
                prefill = prefill_workers(self.target, times, spec.batched_tokens_max)
                yield self._bounded(Candidate(prefill, prefill_tp, decode, decode_tp, running))

    def _bounded(self, candidate: Candidate) -> Candidate:
        """With as many GPUs as there may be, at most."""
        while candidate.gpus > self.gpus_max and candidate.decode > 1:
            candidate = replace(candidate, decode=candidate.decode - 1)
            if candidate.gpus > self.gpus_max and candidate.prefill > 1:
                candidate = replace(candidate, prefill=candidate.prefill - 1)
        return candidate


def climb(search: Search, first: Candidate) -> list[Judged]:
    """One family, from its first candidate on."""
    judged: dict[Candidate, Judged] = {}

    def judge(candidate: Candidate) -> Judged:
        if candidate not in judged:
            judged[candidate] = search.trial(candidate).judge()
        return judged[candidate]

    if first.gpus <= search.gpus_max:
        best = _grown(judge, first, search.gpus_max)
        if best.meets:
            _shrunk(judge, best)
    return list(judged.values())


def _grown(judge: Judge, first: Candidate, gpus_max: int) -> Judged:
    current = judge(first)
    for _ in range(STEPS_MAX):
        if current.meets:
            break
        options = [c for c in _larger(current) if c.gpus <= gpus_max]
        if not options:
            break
        current = judge(options[0])
    return current


def _larger(current: Judged) -> list[Candidate]:
    """The next to try, what the missed bound asks for first."""
    candidate = current.candidate
    more_decode = replace(candidate, decode=candidate.decode + max(1, candidate.decode // 8))
    if candidate.is_aggregated:
        return [more_decode]
    more_prefill = replace(candidate, prefill=candidate.prefill + max(1, candidate.prefill // 8))
    busy = {tier.role: tier.utilisation for tier in current.outcome.tiers}
    queues = {tier.role: tier.queue_mean for tier in current.outcome.tiers}
    name, _, _ = current.worst_bound
    wants_prefill = name.startswith("ttft") and (
        queues.get("prefill", 0) >= queues.get("decode", 0) and busy.get("prefill", 0) > 0.5
    )
    return [more_prefill, more_decode] if wants_prefill else [more_decode, more_prefill]


def _shrunk(judge: Judge, current: Judged) -> Judged:
    for _ in range(STEPS_MAX):
        smaller = [judge(candidate) for candidate in _smaller(current.candidate)]
        keeping = [each for each in smaller if each.meets]
        if not keeping:
            break
        current = min(keeping, key=lambda each: each.candidate.gpus)
    return current


def _smaller(candidate: Candidate) -> Iterator[Candidate]:
    if candidate.decode > 1:
        yield replace(candidate, decode=candidate.decode - 1)
    if candidate.prefill > 1:
        yield replace(candidate, prefill=candidate.prefill - 1)


def front(judged: Sequence[Judged]) -> set[Candidate]:
    """Those of which no other costs less or as much and attains more."""
    found, best = set(), -1.0
    for each in sorted(judged, key=lambda j: (j.candidate.gpus, -j.outcome.tally.attainment)):
        if each.outcome.tally.attainment > best:
            found.add(each.candidate)
            best = each.outcome.tally.attainment
    return found


def cheapest(judged: Iterable[Judged]) -> Judged | None:
    """The least GPUs that keep the promise, then the most attainment."""
    keeping = [each for each in judged if each.meets]
    return min(keeping, key=lambda j: (j.candidate.gpus, -j.outcome.tally.attainment), default=None)
