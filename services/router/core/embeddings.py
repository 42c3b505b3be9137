"""Requests for vectors: what fits a pool, and what does not."""

from services.common.domain import EmbeddingAsk, EmbeddingModel, Request
from services.common.errors import InvalidField, MeshError, PromptTooLong
from services.router.core.fleet import Pool


def wrong_kind(request: Request, pool: Pool) -> MeshError | None:
    """Why a model that generates cannot give vectors, nor the other generate."""
    if request.embedding is None and pool.embedding_model is not None:
        return InvalidField(f"the model '{pool.model}' gives vectors and no text", field="model")
    if request.embedding is not None and pool.embedding_model is None:
        return InvalidField(f"the model '{pool.model}' gives text and no vectors", field="model")
    return None


def misfit(request: Request, ask: EmbeddingAsk, model: EmbeddingModel, pool: Pool) -> MeshError | None:
    """Why this vector cannot be had, however much room there is."""
    if not request.prompt:
        return InvalidField("the prompt is empty", field="prompt")
    if not model.gives(ask.dimensions):
        words = f"the model '{pool.model}' gives no vectors of {ask.dimensions} numbers"
        return InvalidField(words, field="dimensions")
    if 0 < pool.max_model_len_tokens < len(request.prompt):
        words = f"the model holds {pool.max_model_len_tokens} tokens; the prompt has {len(request.prompt)}"
        return PromptTooLong(words, field="prompt")
    return None
