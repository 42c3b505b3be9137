"""Which jobs a simulated engine takes."""

from collections.abc import Container

from services.common.domain import EmbeddingModel, FailureKind, Job, JobKind, Role
from services.worker.engine.sim.options import Shape

Refusal = tuple[FailureKind, str, str]
"""Whose fault it is, why, and the request's field at fault; "" for none."""


def refusal_of(
    job: Job,
    role: Role,
    shape: Shape,
    waiting: int,
    adapters: Container[str] = (),
    embedding_model: EmbeddingModel | None = None,
) -> Refusal | None:
    """Why a job cannot be queued behind `waiting` others; None when it can.

    With an `embedding_model` the engine gives vectors, and without one it generates.
    """
    if waiting >= shape.max_waiting_requests:
        return FailureKind.FULL, f"the engine's queue is full ({waiting} jobs)", ""
    if job.lora and job.lora not in adapters:
        return FailureKind.INVALID, f"there is no adapter {job.lora!r} here", "model"
    refusal = _runner_refusal(job, embedding_model) or _size_refusal(job, shape)
    return refusal or _ticket_refusal(job) or _role_refusal(job, role, shape)


def _runner_refusal(job: Job, model: EmbeddingModel | None) -> Refusal | None:
    if (job.embedding is None) != (model is None):
        return FailureKind.INVALID, "a model generates or gives vectors, and not the other", "model"
    if job.embedding is not None and model is not None and not model.gives(job.embedding.dimensions):
        return (
            FailureKind.INVALID,
            f"this model gives no vectors of {job.embedding.dimensions} numbers",
            "dimensions",
        )
    return None


def _size_refusal(job: Job, shape: Shape) -> Refusal | None:
    text_tokens = len(job.prompt) + len(job.delivered)
    if not job.prompt:
        return FailureKind.INVALID, "the prompt is empty", "prompt"
    if text_tokens >= shape.max_model_len + (job.kind is JobKind.EMBED):
        return (
            FailureKind.INVALID,
            f"{text_tokens} tokens leave no room in a context of {shape.max_model_len}",
            "prompt",
        )
    if job.tokens_left < 1:
        return FailureKind.INVALID, "no token is left to generate", "max_tokens"
    return None


def _ticket_refusal(job: Job) -> Refusal | None:
    if job.kind is not JobKind.ADOPT:
        return None
    if job.handoff is None or job.handoff.kv_tokens != len(job.prompt) + len(job.delivered) - 1:
        return FailureKind.HANDOFF, "the ticket does not cover the text", ""
    return None


def _role_refusal(job: Job, role: Role, shape: Shape) -> Refusal | None:
    if not shape.role_is_fixed:
        return None
    if job.kind is JobKind.PREFILL and not role.can_prefill_for_others():
        return FailureKind.ENGINE, "a decode worker offers no KV", ""
    if job.kind is JobKind.ADOPT and not role.can_decode():
        return FailureKind.ENGINE, "a prefill worker adopts no KV", ""
    return None
