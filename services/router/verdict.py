"""The verdict: which part holds requests up or is unwell, and what an operator can do about it.

One pure function from a `FleetView` to findings, most urgent first. `pdmesh fleet`, `pdmesh doctor` and the
metrics all show these, so that they never contradict each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from statistics import median

from services.common.domain import Role
from services.router.core.outcomes import ANSWERED, CANCELLED
from services.router.fleet_view import FleetView, HandoffsView, ModelView, PairView, TierView, WorkerView

WINDOW = "of the last 5 minutes"
REFUSED_SHARE_MIN = 0.01
"""A smaller share of refused requests is no finding."""
KV_FULL_SHARE = 0.9
SLOW_FACTOR = 2.0
SLOW_MS_MIN = 5.0
"""A worker is slow whose step takes so many times the median of the others, and so much longer."""

STARVED = {Role.PREFILL: "prefill_starved", Role.DECODE: "decode_starved"}
REFUSALS = {
    "queue_full": "the queue is full",
    "queue_wait_exceeded": "they waited as long as is allowed",
    "kv_memory_full": "KV memory is full",
    "deadline_unmeetable": "their deadline could not be met",
    "deadline_passed": "their deadline passed",
    "shed": "the queue is nearly full",
    "no_workers": "no worker served",
    "retries_exhausted": "workers failed too often",
    "quarantined_prompt": "workers died with the same prompt",
}
"""Reasons that an operator can do something about, in words."""
SHED_FOR_LOAD = ("queue_full", "queue_wait_exceeded", "deadline_unmeetable", "deadline_passed", "shed")


class Severity(IntEnum):
    """How urgent a finding is."""

    NOTE = 1
    """Worth knowing, nothing is wrong."""
    WARNING = 2
    """Callers wait, or will soon."""
    CRITICAL = 3
    """Requests are refused or fail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an operator should know."""

    kind: str
    """One of `KINDS`; bounded, so that it can be a metric's label."""
    severity: Severity
    model: str
    """Empty where it concerns the whole fleet."""
    text: str
    remedy: str


KINDS = (
    *("no_worker", "kv_full", "prefill_starved", "decode_starved", "refusals", "worker_suspended"),
    *(
        "worker_slow",
        "pair_held",
        "pair_refused",
        "pair_suspended",
        "handoffs_unreleased",
        "handoffs_expired",
    ),
    *("quarantine", "store_away", "process_given_up"),
)


def findings(view: FleetView) -> list[Finding]:
    """All findings, most urgent first; none for a healthy fleet."""
    return sorted(_all(view), key=lambda finding: -finding.severity)


def _all(view: FleetView) -> Iterator[Finding]:
    if not view.workers:
        remedy = "start one with `pdmesh serve decode`, or a whole mesh with `pdmesh up`"
        yield Finding("no_worker", Severity.CRITICAL, "", "no worker is attached", remedy)
    for model in view.models:
        if model.workers:
            yield from _of_model(model)
    for pair in view.pairs:
        yield from _of_pair(pair)
    yield from _of_handoffs(view.handoffs)
    if view.quarantined_prompts:
        text = f"{view.quarantined_prompts} prompts are refused because workers died with them"
        remedy = "the router's --quarantine-dir has them; `pdmesh forgive` takes them again"
        yield Finding("quarantine", Severity.WARNING, "", text, remedy)
    for name, why in view.given_up.items():
        text = f"{name} cannot be kept running: it {why}"
        remedy = "its log tells why; it is started again now and then"
        yield Finding("process_given_up", Severity.WARNING, "", text, remedy)
    if view.store_is_away:
        text = "the store (Redis) does not answer: this router sees no other router"
        yield Finding("store_away", Severity.WARNING, "", text, "start Redis again, or check --store")


def _of_model(model: ModelView) -> Iterator[Finding]:
    missing = list(_missing(model))
    yield from missing
    if not missing:
        yield from _held_up(model)
    yield from _refusals(model)
    for tier in model.tiers:
        yield from _slow(tier)
    for worker in model.workers:
        if worker.state == "suspended":
            text = f"{worker.worker_id} gets no work after failures"
            remedy = "see its log; it is tried again by itself, `pdmesh forgive` tries at once"
            yield Finding("worker_suspended", Severity.WARNING, model.model, text, remedy)


def _missing(model: ModelView) -> Iterator[Finding]:
    """The tier without which no request is answered. Workers that give vectors only prefill."""
    needed = model.prefill if model.gives_vectors else model.decode
    if not needed.serving:
        text = f"no {_name(needed)} worker serves {model.model}, so every request is refused"
        yield Finding("no_worker", Severity.CRITICAL, model.model, text, remedy_of(needed, model.workers))


def _held_up(model: ModelView) -> Iterator[Finding]:
    """The tier that requests wait for."""
    if (full := _kv_full(model)) is not None:
        yield full
    elif (starved := _decode_starved(model)) is not None:
        yield starved
    if (starved := _prefill_starved(model.prefill, model)) is not None:
        yield starved


def _kv_full(model: ModelView) -> Finding | None:
    tier, refused = model.decode, model.outcomes.get("kv_memory_full", 0)
    blocks = sum(worker.kv_blocks for worker in tier.serving)
    taken = sum(worker.kv_blocks_taken for worker in tier.serving)
    has_seats = any(worker.slots_taken < worker.slots for worker in tier.serving)
    is_full = tier.queued_requests > 0 and has_seats and taken >= KV_FULL_SHARE * blocks
    if not is_full and refused <= REFUSED_SHARE_MIN * model.ended:
        return None
    held = f"decode workers have {taken / blocks:.0%} of their KV blocks reserved" if blocks else ""
    said = f"{refused} of {model.ended} requests {WINDOW} were refused for it" if refused else ""
    waiting = f"{tier.queued_requests} requests wait" if tier.queued_requests else ""
    text = f"KV memory is the bottleneck: {', '.join(filter(None, (said, waiting, held)))}"
    severity = Severity.CRITICAL if refused else Severity.WARNING
    remedy = f"{remedy_of(tier, model.workers)}, or ask for fewer tokens (max_tokens reserves KV)"
    return Finding("kv_full", severity, model.model, text, remedy)


def _decode_starved(model: ModelView) -> Finding | None:
    tier = model.decode
    if not tier.queued_requests:
        return None
    slots = sum(worker.slots for worker in tier.serving)
    taken = sum(worker.slots_taken for worker in tier.serving)
    text = f"decode is the bottleneck: {_waiting(tier)} for a decode seat; {taken} of {slots} seats are taken"
    return Finding("decode_starved", _urgency(tier, model), model.model, text, remedy_of(tier, model.workers))


def _prefill_starved(tier: TierView, model: ModelView) -> Finding | None:
    if not tier.serving:  # then every prompt takes the local path, and decode is what there is
        return None
    wait_ms = tier.prefill_wait_ms
    if wait_ms <= tier.wait_ms_target and not tier.queued_requests:
        return None
    count = len(tier.serving)
    compute = "1 worker computes" if count == 1 else f"{count} workers each compute"
    rate = f"{compute} {tier.tokens_per_s:,.0f} tokens/s"
    parts = [
        f"{_waiting(tier)} in the queue" if tier.queued_requests else "",
        f"{tier.engine_tokens:,} prompt tokens wait inside the engines" if tier.engine_tokens else "",
        rate if tier.tokens_per_s else "",
        f"a new prompt waits about {wait_ms / 1e3:.1f} s" if wait_ms else "",
    ]
    text = f"prefill is the bottleneck: {', '.join(filter(None, parts))}"
    return Finding(
        "prefill_starved", _urgency(tier, model), model.model, text, remedy_of(tier, model.workers)
    )


def _urgency(tier: TierView, model: ModelView) -> Severity:
    """Requests that wait briefly are a note, those that wait too long a warning; refused ones are worse."""
    if any(model.outcomes.get(reason, 0) > REFUSED_SHARE_MIN * model.ended for reason in SHED_FOR_LOAD):
        return Severity.CRITICAL
    longest_ms = max(tier.oldest_wait_ms, tier.prefill_wait_ms)
    return Severity.WARNING if longest_ms > tier.wait_ms_target else Severity.NOTE


def _waiting(tier: TierView) -> str:
    oldest = f", the oldest for {tier.oldest_wait_ms / 1e3:.1f} s" if tier.oldest_wait_ms >= 100 else ""
    return f"{tier.queued_requests} requests ({tier.queued_tokens:,} tokens) wait{oldest}"


def _refusals(model: ModelView) -> Iterator[Finding]:
    """Requests that were refused or failed for a reason that an operator can do something about."""
    lost = {reason: model.outcomes[reason] for reason in REFUSALS if model.outcomes.get(reason)}
    total = sum(lost.values())
    if total <= REFUSED_SHARE_MIN * model.ended:
        return
    ordered = sorted(lost.items(), key=lambda item: -item[1])
    reasons = ", ".join(f"{count} because {REFUSALS[reason]} ({reason})" for reason, count in ordered)
    asked = model.ended - model.outcomes.get(CANCELLED, 0)
    text = (
        f"{total} of {asked} requests {WINDOW} got no answer: {reasons}; "
        f"{model.outcomes.get(ANSWERED, 0)} were answered"
    )
    remedy = "add workers to the tier that is named as the bottleneck, or send less"
    yield Finding("refusals", Severity.CRITICAL, model.model, text, remedy)


def _slow(tier: TierView) -> Iterator[Finding]:
    """Workers whose steps take much longer than the others' of the same tier."""
    busy = [worker for worker in tier.serving if worker.step_ms and worker.running_requests]
    for worker in busy:
        others = [other.step_ms for other in busy if other is not worker]
        if not others:
            return
        usual_ms = median(others)
        if worker.step_ms > SLOW_FACTOR * usual_ms and worker.step_ms > usual_ms + SLOW_MS_MIN:
            text = (
                f"{worker.worker_id} takes {worker.step_ms:.0f} ms for a step, the other {_name(tier)} "
                f"workers take {usual_ms:.0f} ms"
            )
            remedy = f"look at its host (GPU clock, neighbours), or `pdmesh drain {worker.worker_id}`"
            yield Finding("worker_slow", Severity.WARNING, tier.model, text, remedy)


def _of_pair(pair: PairView) -> Iterator[Finding]:
    name = f"{pair.prefill_worker} -> {pair.decode_worker}"
    if pair.refusal:
        text = f"{name}: KV cannot be handed over, so requests take another way: {pair.refusal}"
        remedy = "a canary tries again every few seconds"
        yield Finding("pair_refused", Severity.CRITICAL, pair.model, text, remedy)
        return
    if pair.breaker != "open":
        return
    if pair.canary == "differed":
        text = f"{name} is held: tokens after a handoff differ from tokens without one"
        remedy = f"compare the two hosts and restart {pair.decode_worker} or {pair.prefill_worker}"
        yield Finding("pair_held", Severity.CRITICAL, pair.model, text, remedy)
    else:
        text = f"{name} is suspended after failed handoffs ({pair.failures} of {pair.handoffs})"
        remedy = "`pdmesh doctor` tells more about the pair; it is tried again by itself"
        yield Finding("pair_suspended", Severity.WARNING, pair.model, text, remedy)


def _of_handoffs(handoffs: HandoffsView) -> Iterator[Finding]:
    idle = handoffs.unreleased - handoffs.unreleased_busy
    if idle:
        text = f"KV of {idle} handoffs is held for no request"
        remedy = "the leases free it; if this stays, restart the prefill worker that holds it"
        yield Finding("handoffs_unreleased", Severity.WARNING, "", text, remedy)
    elif handoffs.unreleased_busy:
        text = f"busy prefill workers have not freed the KV of {handoffs.unreleased_busy} handoffs yet"
        yield Finding("handoffs_unreleased", Severity.NOTE, "", text, "they do so between two steps")
    if handoffs.expired:
        text = f"{handoffs.expired} leases ran out before a decode worker took the KV"
        remedy = "decode workers came too late or never; see their logs, then `pdmesh forgive`"
        yield Finding("handoffs_expired", Severity.WARNING, "", text, remedy)


def remedy_of(tier: TierView, workers: Sequence[WorkerView]) -> str:
    """The quickest thing that gives the tier more; a worker that is loaded already comes first."""
    for worker in tier.workers:
        if worker.state in ("standby", "draining"):
            verb = "activate" if worker.state == "standby" else "undrain"
            return f"`pdmesh {verb} {worker.worker_id}`"
    if any(worker.state == "suspended" for worker in tier.workers):
        return f"a {_name(tier)} worker is suspended after failures, `pdmesh doctor` tells more"
    for worker in workers:
        is_idle = worker.state == "serving" and not worker.running_requests and not worker.prefill_tokens
        if is_idle and not worker.is_of(tier.role):
            return f"start another {_name(tier)} worker, or `pdmesh role {worker.worker_id} both`"
    return f"start another {_name(tier)} worker"


def _name(tier: TierView) -> str:
    return tier.role.name.lower()
