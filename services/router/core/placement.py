"""Placement: the path, the decode worker and the prefill worker of a flight.

Each tier's choice is a profile of small policies (`profile`, `scores`) over a few candidates (`candidates`),
informed by who has which prefix (`prefixes`) and who served whom before (`sessions`).
"""

from collections.abc import Callable, Sequence
from random import Random

from services.common.domain import KvChange, Path, Receipt, Role
from services.router.core.candidates import Candidates, Sampling, Tier
from services.router.core.config import CoreConfig
from services.router.core.fleet import Worker
from services.router.core.flight import Flight
from services.router.core.paths import LearntThreshold, LengthThreshold, PathChoice, PathPolicy
from services.router.core.prefixes import Namespace, Overlap, PrefixIndex
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

NO_OVERLAP = Overlap()


def profiles(config: CoreConfig, index: PrefixIndex) -> dict[str, Profile]:
    """All choices of a worker, on one screen.

    A cached prefix helps a decode worker little when it is to pull the KV, and much when it runs the text.
    """
    room, picker = (HasAdapter(), TakesWork(), HasRoom()), BestScore()
    load = (
        (config.free_blocks_weight, FreeBlocks()),
        (config.step_time_weight, StepTime(config.step_time_reference_ms)),
    )
    usual = (
        (config.conversation_weight, SameConversation(index.feeds)),
        (config.adapter_weight, SameAdapter()),
    )
    cached = CachedTokens()
    return {
        "decode": Profile("decode", room, (*load, (config.decode_cached_weight, cached), *usual), picker),
        "local": Profile("local", room, (*load, (config.local_cached_weight, cached), *usual), picker),
        "prefill": Profile(
            "prefill",
            (*room, StartsSoon(config.prefill_batches_ahead)),
            ((config.prefill_cached_weight, cached), (config.queued_weight, QueuedTokens()), *usual),
            picker,
        ),
    }


class Policies:
    """The policies in force, and what they remember."""

    def __init__(self, config: CoreConfig, path: PathPolicy, timing: Timing | None = None) -> None:
        self.path = path
        self.timing = timing
        self.index = PrefixIndex(config.prefix_blocks_max, config.seed)
        self._config = config
        self._profiles = profiles(config, self.index)
        if timing is not None:
            self._profiles = {name: timing.of(profile) for name, profile in self._profiles.items()}
        self._candidates = Candidates(Sampling(), self.index, Random(config.seed))
        self._conversations = Conversations(config.conversations_max, config.conversation_ttl_ms)
        self._adapters = Adapters(config.adapters_max, config.conversation_ttl_ms)
        self._walked: tuple[Flight | None, int, int, Overlap] = (None, 0, 0, NO_OVERLAP)

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
        if not flight.request.sampling.continues_exactly:
            if flight.delivered:
                return PathChoice(Path.LOCAL, "replay")
            if not flight.pool.can_replay:
                return PathChoice(Path.LOCAL, "sampling")
        decode = self._candidates.tier(flight.pool, Role.DECODE)
        cached_tokens = self._overlap(flight, flight.text_tokens).longest(decode.mask)
        return self.path.choose(flight.request, flight.text_tokens, cached_tokens)

    def kv_tokens(self, flight: Flight) -> int:
        """Tokens of KV to reserve on a decode worker: the text and its expected growth."""
        left = flight.request.sampling.max_tokens - len(flight.delivered)
        return flight.text_tokens + min(left, self._config.expected_output_tokens)

    def pick_decode(self, flight: Flight, now_ms: float) -> Worker | None:
        """The decode worker; `None` when none has room."""
        runs_text = flight.path is Path.LOCAL and flight.handoff is None
        tier = self._candidates.tier(flight.pool, Role.DECODE)
        question = self._question(flight, Role.DECODE, tier, self.kv_tokens(flight), now_ms)
        return self._pick(tier, "local" if runs_text else "decode", question, None)

    def pick_prefill(
        self, flight: Flight, may_pair: Callable[[Worker], bool], now_ms: float
    ) -> Worker | None:
        """The prefill worker among those that may hand over to the chosen decode worker; `None`: no room."""
        tier = self._candidates.tier(flight.pool, Role.PREFILL)
        question = self._question(flight, Role.PREFILL, tier, flight.text_tokens, now_ms)
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
        profile = self._profiles[profile_name]
        if tier.is_full_for(question):
            return None
        some = self._candidates.some(tier, question)
        chosen = profile.pick(question, _those(some, may_have))
        if chosen is None and some is not tier.workers:
            chosen = profile.pick(question, _those(tier.workers, may_have))
        if chosen is None and not question.flight.request.lora and not profile.keep(question, tier.workers):
            tier.found_full(question)
        return chosen

    def _question(self, flight: Flight, role: Role, tier: Tier, kv_tokens: int, now_ms: float) -> Question:
        text_tokens, request = flight.text_tokens, flight.request
        overlap = self._overlap(flight, text_tokens)
        if overlap.levels and not overlap.levels[0][1] & tier.mask:
            overlap = NO_OVERLAP
        return Question(
            flight=flight,
            now_ms=now_ms,
            text_tokens=text_tokens,
            kv_tokens=kv_tokens,
            blocks=-(-kv_tokens // flight.pool.block_size_tokens),
            overlap=overlap,
            visited=self._conversations.worker_of(request, role, now_ms),
            adapter_workers=self._adapters.workers_of(request, now_ms),
        )

    def _overlap(self, flight: Flight, text_tokens: int) -> Overlap:
        """Walked once for a text, as long as the index stays the same."""
        walked, tokens, version, overlap = self._walked
        if walked is not flight or tokens != text_tokens or version != self.index.version:
            request = flight.request
            text = request.prompt + flight.delivered if flight.delivered else request.prompt
            name = Namespace(request.model, request.cache_salt, request.lora)
            overlap = self.index.overlap(name, text, flight.pool.block_size_tokens)
            self._walked = (flight, text_tokens, self.index.version, overlap)
        return overlap


def _those(workers: Sequence[Worker], may_have: Callable[[Worker], bool] | None) -> Sequence[Worker]:
    return workers if may_have is None else [w for w in workers if may_have(w)]
