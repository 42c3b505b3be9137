"""How long each placement policy takes: wrappers around policies, so that an untimed one costs nothing."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.router.core.fleet import Worker
from services.router.core.profile import Filter, Picker, Profile, Question, Scorer

Stopwatch = Callable[[], float]
"""Seconds of some clock; the shell injects a real one, the core by itself reads none."""


@dataclass(slots=True)
class Timing:
    """Seconds that each policy has taken, by name."""

    stopwatch: Stopwatch
    total_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def of(self, profile: Profile) -> Profile:
        """The same profile, timed."""
        return replace(
            profile,
            filters=tuple(_TimedFilter(policy, self) for policy in profile.filters),
            scorers=tuple(_TimedScorer(policy, self) for policy in profile.scorers),
            picker=_TimedPicker(profile.picker, self),
        )

    def of_all(self, profiles: Mapping[str, Profile]) -> dict[str, Profile]:
        """The same profiles, timed."""
        return {name: self.of(profile) for name, profile in profiles.items()}

    def charge(self, name: str, since_s: float) -> None:
        """A policy has taken the time since then."""
        self.total_s[name] += self.stopwatch() - since_s


class _TimedFilter:
    def __init__(self, policy: Filter, timing: Timing) -> None:
        self.name, self._policy, self._timing = policy.name, policy, timing

    def keep(self, question: Question, workers: Sequence[Worker]) -> Sequence[Worker]:
        since_s = self._timing.stopwatch()
        kept = self._policy.keep(question, workers)
        self._timing.charge(self.name, since_s)
        return kept


class _TimedScorer:
    def __init__(self, policy: Scorer, timing: Timing) -> None:
        self.name, self._policy, self._timing = policy.name, policy, timing

    def scores(self, question: Question, workers: Sequence[Worker]) -> Sequence[float] | None:
        since_s = self._timing.stopwatch()
        scores = self._policy.scores(question, workers)
        self._timing.charge(self.name, since_s)
        return scores


class _TimedPicker:
    def __init__(self, policy: Picker, timing: Timing) -> None:
        self.name, self._policy, self._timing = policy.name, policy, timing

    def pick(self, question: Question, workers: Sequence[Worker], scores: Sequence[float]) -> Worker:
        since_s = self._timing.stopwatch()
        chosen = self._policy.pick(question, workers, scores)
        self._timing.charge(self.name, since_s)
        return chosen
