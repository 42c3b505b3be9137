"""Models that give vectors: what vLLM says of them, and a job as its request."""

import math
from array import array
from typing import Any

from services.common.domain import EmbeddingAsk, EmbeddingModel
from services.common.domain.embedding import vector
from services.common.errors import BadSetting

TASK = "embed"
"""vLLM's name for one vector per text; its other tasks classify, or give a vector for each token."""


def is_pooling(config: Any) -> bool:
    """Whether a vLLM configuration is one of a model that generates nothing."""
    return bool(config.model_config.runner_type == "pooling")


async def embedding_model(core: Any) -> EmbeddingModel | None:
    """What the loaded model gives; `None` for one that generates. Raises `BadSetting` for a third kind."""
    if not is_pooling(core.config):
        return None
    tasks = await core.client.get_supported_tasks_async()
    if TASK not in tasks:
        raise BadSetting(f"the model gives no vector for a text, it can only {', '.join(tasks)}")
    model = core.config.model_config
    whole = getattr(model.pooler_config, "dimensions", None) or model.embedding_size
    return EmbeddingModel(whole, bool(model.is_matryoshka), tuple(sorted(model.matryoshka_dimensions or ())))


def to_vllm(ask: EmbeddingAsk) -> Any:
    """vLLM's PoolingParams."""
    from vllm.pooling_params import PoolingParams

    return PoolingParams(task=TASK, dimensions=ask.dimensions or None)


def to_vector(output: Any) -> "array[float] | None":
    """The numbers of vLLM's tensor; `None` where some are none, as when a small dtype overflows."""
    made = vector()
    made.frombytes(output.float().contiguous().numpy().tobytes())
    return made if math.isfinite(sum(made)) else None
