"""Which workers are looked at for a placement: all of a small tier, a telling few of a large one."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from services.common.domain import Role
from services.router.core.fleet import Pool, Worker
from services.router.core.prefixes import PrefixIndex
from services.router.core.profile import Question

FULL_TTL_MS = 100.0
"""That a tier is full is believed for so long without news of room, lest a missed word starve anyone."""


@dataclass(slots=True)
class Tier:
    """The workers of one pool that can do one part, and what was learnt by looking."""

    role: Role
    workers: Sequence[Worker]
    by_session: dict[int, Worker]
    changes: int
    """The pool's, when the workers were listed."""
    freed: OrderedDict[int, None] = field(default_factory=OrderedDict)
    """Sessions of workers whose room changed last, newest last."""
    members: int = -1
    mask: int = 0
    """The workers as a bit set of the prefix index, made when it had so many `members` changes."""
    full_from_kv_tokens: int | None = None
    full_at_ms: float = 0.0

    def is_full_for(self, question: Question) -> bool:
        """Whether nobody had room for as much, or for less, and no room has changed since."""
        full_from = self.full_from_kv_tokens
        if full_from is None or question.now_ms - self.full_at_ms > FULL_TTL_MS:
            return False
        return question.kv_tokens >= full_from

    def found_full(self, question: Question) -> None:
        """Nobody has room for this."""
        self.full_from_kv_tokens, self.full_at_ms = question.kv_tokens, question.now_ms


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many are looked at."""

    all_up_to: int = 32
    """Every worker of a tier that is no larger."""
    overlapping: int = 2
    freed: int = 1


class Candidates:
    """Picks the workers to look at."""

    def __init__(self, sampling: Sampling, index: PrefixIndex, random: Random) -> None:
        self._sampling, self._index, self._random = sampling, index, random
        self._prefill: dict[str, Tier] = {}
        self._decode: dict[str, Tier] = {}

    def prefill(self, pool: Pool) -> Tier:
        """The workers that prefill for others."""
        tier = self._prefill.get(pool.model)
        if tier is None or tier.changes != pool.changes:
            tier = self._prefill[pool.model] = _listed(pool, Role.PREFILL, Role.can_prefill_for_others)
        return tier if tier.members == self._index.members else self._masked(tier)

    def decode(self, pool: Pool) -> Tier:
        """The workers that generate."""
        tier = self._decode.get(pool.model)
        if tier is None or tier.changes != pool.changes:
            tier = self._decode[pool.model] = _listed(pool, Role.DECODE, Role.can_decode)
        return tier if tier.members == self._index.members else self._masked(tier)

    def _masked(self, tier: Tier) -> Tier:
        tier.members = self._index.members
        tier.mask = self._index.mask(w.session for w in tier.workers)
        return tier

    def room_changed(self, worker: Worker) -> None:
        """A worker has more room than before."""
        model = worker.registration.fingerprint.model
        for tiers in (self._prefill, self._decode):
            tier = tiers.get(model)
            if tier is not None:
                tier.full_from_kv_tokens = None
                if len(tier.workers) > self._sampling.all_up_to:  # of a smaller one all are looked at anyway
                    self._note_freed(tier, worker)

    def _note_freed(self, tier: Tier, worker: Worker) -> None:
        tier.freed[worker.session] = None
        tier.freed.move_to_end(worker.session)
        if len(tier.freed) > self._sampling.freed:
            tier.freed.popitem(last=False)

    def some(self, tier: Tier, question: Question) -> Sequence[Worker]:
        """All of a small tier; of a large one two at random, those just freed, those with the text cached.

        Of two, the better is nearly as good as the best of many (the power of two choices). One may be there
        twice, which changes no choice.
        """
        workers = tier.workers
        number, random = len(workers), self._random.random
        if number <= self._sampling.all_up_to:
            return workers
        found = [workers[int(random() * number)], workers[int(random() * number)]]
        sessions = [*tier.freed, *question.adapter_workers]
        if question.overlap.levels:
            sessions += question.overlap.best(tier.mask, self._sampling.overlapping, self._random)
        if question.visited is not None:
            sessions.append(question.visited)
        for session in sessions:
            if (worker := tier.by_session.get(session)) is not None:
                found.append(worker)
        return found


def _listed(pool: Pool, role: Role, can: Callable[[Role], bool]) -> Tier:
    """Made anew whenever the fleet has changed."""
    workers = [w for w in pool.workers.values() if w.is_serving and can(w.role)]
    return Tier(role, workers, {w.session: w for w in workers}, pool.changes)
