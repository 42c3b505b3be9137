"""Dry runs: where a request would go now, and why, with nothing changed."""

from dataclasses import dataclass

from services.common.domain import Path, Receipt, Request
from services.common.errors import MeshError, ModelNotFound
from services.router.core.admission import Admission, Ask
from services.router.core.embeddings import wrong_kind
from services.router.core.flight import Flight
from services.router.core.paths import PathChoice
from services.router.core.placing import no_adapter
from services.router.core.state import State


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen to a request."""

    refusal: MeshError | None = None
    choice: PathChoice | None = None
    decode_worker: str = ""
    prefill_worker: str = ""
    waits_for: str = ""
    """`decode` or `prefill` when it would wait for that tier."""


def explain(state: State, admission: Admission, request: Request, now_ms: float) -> Explanation:
    """What the policies say of a request."""
    pool = state.fleet.pools.get(request.model)
    if pool is None:
        return Explanation(ModelNotFound(f"the model '{request.model}' is not served here", field="model"))
    if (refusal := wrong_kind(request, pool)) is not None:
        return Explanation(refusal)
    flight = Flight(0, 0, request, pool, Receipt(request.request_id), request.delivered, now_ms)
    choice = state.policies.choose_path(flight)
    flight.path = choice.path
    queue = pool.prefill_queue if choice.path is Path.DISAGGREGATED else pool.decode_queue
    refusal = admission.refusal(Ask(request, pool, queue, now_ms))
    if refusal is not None:
        return Explanation(refusal, choice)
    if request.lora and request.lora not in pool.adapters:
        return Explanation(no_adapter(request, pool), choice)
    decode = state.policies.pick_decode(flight, now_ms)
    if decode is None:
        return Explanation(None, choice, waits_for="decode")
    if choice.path is Path.LOCAL:
        return Explanation(None, choice, decode.worker_id)
    partners = [w for w in pool.prefill_workers(now_ms) if w is not decode and w.runs_adapter(request.lora)]
    if not partners:
        return Explanation(None, PathChoice(Path.LOCAL, "no_prefill_worker"), decode.worker_id)
    prefill = state.policies.pick_prefill(flight, partners.__contains__, now_ms)
    if prefill is None:
        return Explanation(None, choice, decode.worker_id, waits_for="prefill")
    return Explanation(None, choice, decode.worker_id, prefill.worker_id)
