"""Placement: the path, the decode worker and the prefill worker of a flight.

Each tier's choice is a profile of small policies (`profile`, `scores`) over a few candidates (`candidates`),
informed by who has which prefix (`prefixes`) and who served whom before (`sessions`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from services.common.domain import KvChange, Path, Receipt, Role
from services.router.core.candidates import Candidates, Sampling, Tier
from services.router.core.config import CoreConfig
from services.router.core.fleet import Worker
from services.router.core.flight import Flight
from services.router.core.paths import (
    NOT_REPLAYED,
    REPLAYED,
    LearntThreshold,
    LengthThreshold,
    PathChoice,
    PathPolicy,
)
from services.router.core.prefixes import NO_OVERLAP, Overlap, PrefixIndex
from services.router.core.profile import Profile, Question
from services.router.core.scores import (
    BestScore,
    CachedTokens,
    FreeBlocks,
    HasAdapter,
    HasRoom,
    QueuedTokens,
    SameAdapter,
    SameConversation,
    StartsSoon,
    StepTime,
    TakesWork,
)
from services.router.core.sessions import Adapters, Conversations
from services.router.core.timing import Timing


def profiles(config: CoreConfig, index: PrefixIndex) -> dict[str, Profile]:
    """All choices of a worker, on one screen.

    A cached prefix helps a decode worker little when it is to pull the KV, and much when it runs the text.
    """
    room, picker = (HasAdapter(), TakesWork(), HasRoom()), BestScore()
    load = (
        FreeBlocks(config.free_blocks_weight),
        StepTime(config.step_time_weight, config.step_time_reference_ms),
    )
    usual = (
        SameConversation(config.conversation_weight, index.feeds),
        SameAdapter(config.adapter_weight),
    )
    pulls, runs = CachedTokens(config.decode_cached_weight), CachedTokens(config.local_cached_weight)
    cached, queued = CachedTokens(config.prefill_cached_weight), QueuedTokens(config.queued_weight)
    return {
        "decode": Profile("decode", room, (*load, pulls, *usual), picker),
        "local": Profile("local", room, (*load, runs, *usual), picker),
        "prefill": Profile(
            "prefill",
            (*room, StartsSoon(config.prefill_batches_ahead)),
            (cached, queued, *usual),
            picker,
        ),
    }


ABOUT_THE_KNOWN = (HasAdapter, SameConversation, SameAdapter)
"""These say nothing of a stranger: a request that names neither a conversation nor an adapter."""


def for_strangers(profile: Profile) -> Profile:
    """The same choice without asking whoever has nothing to say of a stranger, as most requests are."""
    filters = tuple(policy for policy in profile.filters if not isinstance(policy, ABOUT_THE_KNOWN))
    scorers = tuple(policy for policy in profile.scorers if not isinstance(policy, ABOUT_THE_KNOWN))
    return replace(profile, filters=filters, scorers=scorers)


class Policies:
    """The policies in force, and what they remember."""

    def __init__(self, config: CoreConfig, path: PathPolicy, timing: Timing | None = None) -> None:
        self.path = path
        self.timing = timing
        self.index = PrefixIndex(config.prefix_blocks_max, config.seed)
        self._for_known = profiles(config, self.index)
        self._for_strangers = {name: for_strangers(profile) for name, profile in self._for_known.items()}
        if timing is not None:
            self._for_known = timing.of_all(self._for_known)
            self._for_strangers = timing.of_all(self._for_strangers)
        self._candidates = Candidates(Sampling(), self.index, Random(config.seed))
        self._conversations = Conversations(config.conversations_max, config.conversation_ttl_ms)
        self._adapters = Adapters(config.adapters_max, config.conversation_ttl_ms)
        self._walked: tuple[Flight | None, int, int] = (None, 0, 0)
        """Flight, tokens of its text and version of the index at the last walk."""
        self._overlap_walked = NO_OVERLAP

    @classmethod
    def of(cls, config: CoreConfig, timing: Timing | None = None) -> "Policies":
        """The policies that a configuration asks for, timed if there is something to time them with."""
        path = LearntThreshold(config) if config.learns_threshold else LengthThreshold(config)
        return cls(config, path, timing)

    def choose_path(self, flight: Flight) -> PathChoice:
        """The path by what the best decode worker would have to run.

        Sampling that tells output from prompt goes on exactly only by replaying the output, for which
        the KV of the prompt alone can be handed over, and nothing that was generated since.
        """
        sampling_matters = flight.delivered or not flight.pool.can_replay
        if sampling_matters and not flight.request.sampling.continues_exactly:
            return REPLAYED if flight.delivered else NOT_REPLAYED
        text_tokens = flight.text_tokens
        decode = self._candidates.decode(flight.pool)
        cached_tokens = self._overlap(flight, text_tokens).longest(decode.mask)
        return self.path.choose(flight.request, text_tokens, cached_tokens)

    def kv_tokens(self, flight: Flight) -> int:
        """Tokens of KV to reserve on a decode worker: the text and its expected growth."""
        return flight.text_tokens + flight.growth_tokens

    def pick_decode(self, flight: Flight, now_ms: float) -> Worker | None:
        """The decode worker; `None` when none has room."""
        runs_text = flight.path is Path.LOCAL and flight.handoff is None
        tier = self._candidates.decode(flight.pool)
        text_tokens = flight.text_tokens
        kv_tokens = text_tokens + flight.growth_tokens
        question = self._question(flight, tier, text_tokens, kv_tokens, now_ms)
        return self._pick(tier, "local" if runs_text else "decode", question, None)

    def pick_prefill(
        self, flight: Flight, may_pair: Callable[[Worker], bool], now_ms: float
    ) -> Worker | None:
        """The prefill worker among those that may hand over to the chosen decode worker; `None`: no room."""
        tier = self._candidates.prefill(flight.pool)
        text_tokens = flight.text_tokens
        question = self._question(flight, tier, text_tokens, text_tokens, now_ms)
        return self._pick(tier, "prefill", question, may_pair)

    def placed(self, flight: Flight, role: Role, worker: Worker, now_ms: float) -> None:
        """A worker that was picked has got the flight."""
        self._conversations.placed(flight.request, role, worker.session, now_ms)
        self._adapters.ran(flight.request, worker.session, now_ms)

    def kv_changed(self, worker: Worker, changes: list[KvChange]) -> None:
        """Take a worker's KV events in."""
        prints, blocks_max = worker.registration.fingerprint, worker.registration.capacity.kv_blocks
        for change in changes:
            self.index.take(worker.session, prints.model, change, prints.block_size_tokens, blocks_max)

    def room_changed(self, worker: Worker) -> None:
        """A worker has more room than before."""
        self._candidates.room_changed(worker)

    def worker_gone(self, worker: Worker) -> None:
        """A worker has detached."""
        self.index.forget(worker.session)

    def finished(self, receipt: Receipt) -> None:
        """Learn from a finished request."""
        self.path.learn(receipt)

    def _pick(
        self, tier: Tier, profile_name: str, question: Question, may_have: Callable[[Worker], bool] | None
    ) -> Worker | None:
        if tier.full_from_kv_tokens is not None and tier.is_full_for(question):
            return None
        request = question.flight.request
        is_stranger = not (request.lora or request.session_key)
        profile = (self._for_strangers if is_stranger else self._for_known)[profile_name]
        some = self._candidates.some(tier, question)
        chosen = profile.pick(question, some)
        if chosen is not None and (may_have is None or may_have(chosen)):
            return chosen
        return _pick_further(tier, some, profile, question, may_have)

    def _question(
        self, flight: Flight, tier: Tier, text_tokens: int, kv_tokens: int, now_ms: float
    ) -> Question:
        request, overlap = flight.request, self._overlap(flight, text_tokens)
        if overlap.levels and not overlap.levels[-1][1] & tier.mask:
            overlap = NO_OVERLAP
        blocks = -(-kv_tokens // flight.pool.block_size_tokens)
        question = Question(flight, now_ms, text_tokens, kv_tokens, blocks, overlap)
        if request.session_key:
            question.visited = self._conversations.worker_of(request, tier.role, now_ms)
        if request.lora:
            question.adapter_workers = self._adapters.workers_of(request, now_ms)
        return question

    def _overlap(self, flight: Flight, text_tokens: int) -> Overlap:
        """Walked once for a text, as long as the index stays the same."""
        walk = (flight, text_tokens, self.index.version)
        if walk != self._walked:
            request = flight.request
            text = request.prompt + flight.delivered if flight.delivered else request.prompt
            name = (request.model, request.cache_salt, request.lora)
            self._walked = walk
            self._overlap_walked = self.index.overlap(name, text, flight.pool.block_size_tokens)
        return self._overlap_walked


def _pick_further(
    tier: Tier,
    some: Sequence[Worker],
    profile: Profile,
    question: Question,
    may_have: Callable[[Worker], bool] | None,
) -> Worker | None:
    """Where the best of some cannot have the flight: the best of those that can, then of those of all."""
    for workers in (some,) if some is tier.workers else (some, tier.workers):
        those = workers if may_have is None else [w for w in workers if may_have(w)]
        chosen = profile.pick(question, those)
        if chosen is not None:
            return chosen
    if not question.flight.request.lora and not profile.keep(question, tier.workers):
        tier.found_full(question)
    return None
