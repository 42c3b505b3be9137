"""Which models the fleet serves."""

from services.common.domain import Role
from services.router.core.actions import ModelInfo
from services.router.core.fleet import Fleet, Pool, WorkerState


def served_models(fleet: Fleet) -> tuple[ModelInfo, ...]:
    """Models with at least one decode worker that serves."""
    return tuple(m for m in map(_model_info, fleet.pools.values()) if m.decode_workers)


def _model_info(pool: Pool) -> ModelInfo:
    serving = [w for w in pool.workers.values() if w.state is WorkerState.SERVING]
    prefill = sum(1 for w in serving if w.role is Role.PREFILL)
    decode = sum(1 for w in serving if w.role.can_decode())
    return ModelInfo(pool.model, pool.max_model_len_tokens, prefill, decode)
