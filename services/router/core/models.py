"""Which models the fleet serves, and under which names."""

from collections.abc import Iterable, Mapping

from services.common.domain import Role
from services.router.core.actions import ModelInfo
from services.router.core.fleet import Pool, WorkerState
from services.router.core.state import State


def served_models(state: State) -> tuple[ModelInfo, ...]:
    """Models with at least one worker that answers, then the aliases of such models."""
    infos = map(_model_info, state.fleet.pools.values())
    models = {info.name: info for info in infos if info.decode_workers or _gives_vectors(info)}
    aliases = (_alias(name, weights, models) for name, weights in state.config.model_versions.items())
    return (*models.values(), *(a for a in aliases if a is not None and a.name not in models))


def _model_info(pool: Pool) -> ModelInfo:
    serving = [w for w in pool.workers.values() if w.state is WorkerState.SERVING]
    prefill = sum(1 for w in serving if w.role is Role.PREFILL)
    decode = sum(1 for w in serving if w.role.can_decode())
    adapters = tuple(sorted(pool.adapters))
    return ModelInfo(
        pool.model,
        pool.max_model_len_tokens,
        prefill,
        decode,
        adapters,
        pool.embedding_model,
        pool.limits_thinking,
    )


def _gives_vectors(info: ModelInfo) -> bool:
    """Whether it has who makes them: those who prefill."""
    return info.embedding_model is not None and info.prefill_workers > 0


def _alias(name: str, weights: Mapping[str, float], models: Mapping[str, ModelInfo]) -> ModelInfo | None:
    """What holds whichever version a caller gets; `None` while none is served."""
    behind = [models[version] for version in _live(weights) if version in models]
    if not behind:
        return None
    return ModelInfo(
        name,
        min(info.max_model_len_tokens for info in behind),
        sum(info.prefill_workers for info in behind),
        sum(info.decode_workers for info in behind),
        tuple(sorted(set.intersection(*(set(info.adapters) for info in behind)))),
        behind[0].embedding_model if len({info.embedding_model for info in behind}) == 1 else None,
        all(info.limits_thinking for info in behind),
    )


def _live(weights: Mapping[str, float]) -> Iterable[str]:
    return (version for version, weight in weights.items() if weight > 0)
