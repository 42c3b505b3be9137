"""Which tier holds a model's requests up, and what an operator can do about it: one line."""

from collections.abc import Iterator

from pdmesh.operator.v1 import operator_pb2 as wire
from services.common.domain import Role

Worker = wire.WorkerStatus
TIERS = (Role.PREFILL, Role.DECODE)


def advice(fleet: wire.DescribeFleetResponse) -> list[str]:
    """One line per model."""
    if not fleet.workers:
        return [
            "no worker is attached: start one with `pdmesh serve decode`, or a whole mesh with `pdmesh up`"
        ]
    return [f"{model}: {_of_model(model, fleet)}" for model in sorted({w.model for w in fleet.workers})]


def serves(worker: Worker, role: Role) -> bool:
    """Whether a worker takes this tier's work now."""
    own = Role(worker.role)
    can = own.can_decode() if role is Role.DECODE else own.can_prefill_for_others()
    return can and worker.state == "serving"


def _of_model(model: str, fleet: wire.DescribeFleetResponse) -> str:
    workers = [w for w in fleet.workers if w.model == model]
    tiers = {Role(tier.role): tier for tier in fleet.tiers if tier.model == model}
    # Who gives vectors only prefills.
    needed = Role.PREFILL if any(w.embedding_dimensions for w in workers) else Role.DECODE
    if not any(serves(w, needed) for w in workers):
        return f"no {needed.name.lower()} worker serves, so nothing does: {_remedy(needed, workers)}"
    slowest = max(tiers.values(), key=lambda tier: tier.queued_requests, default=None)
    if slowest is None or slowest.queued_requests == 0:
        return "nothing waits"
    role = Role(slowest.role)
    waiting = f"{slowest.queued_requests} requests ({slowest.queued_tokens} tokens)"
    return f"{role.name.lower()} is the bottleneck, {waiting} wait for it: {_remedy(role, workers)}"


def _remedy(role: Role, workers: list[Worker]) -> str:
    """The quickest thing that helps; a worker that is loaded already comes first."""
    name = role.name.lower()
    for worker in workers:
        if _is_of(worker, role) and worker.state in ("standby", "draining"):
            verb = "activate" if worker.state == "standby" else "undrain"
            return f"`pdmesh {verb} {worker.worker_id}`"
    if any(_is_of(worker, role) and worker.state == "suspended" for worker in workers):
        return f"a {name} worker is suspended after failures, `pdmesh doctor` tells more"
    for worker in _spare(role, workers):
        return f"start another {name} worker, or `pdmesh role {worker.worker_id} both`"
    return f"start another {name} worker"


def _is_of(worker: Worker, role: Role) -> bool:
    own = Role(worker.role)
    return own.can_decode() if role is Role.DECODE else own.can_prefill_for_others()


def _spare(role: Role, workers: list[Worker]) -> Iterator[Worker]:
    """Idle workers of the other tier."""
    return (w for w in workers if not _is_of(w, role) and w.state == "serving" and not w.running_requests)
