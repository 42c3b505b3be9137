"""A job as vLLM's request."""

import json
from typing import Any

from services.common.domain import Job, JobKind, Sampling, Structured, StructuredKind

DELIVERED = "mesh_delivered"
"""Key in a request's extra_args: the tokens that it has to generate again before others."""


def to_vllm(
    sampling: Sampling, *, delivered_tokens: int, one_token: bool, extra_args: dict[str, Any] | None
) -> Any:
    """vLLM's SamplingParams for what is still to generate; absent values are vLLM's neutral ones.

    `one_token` is for a prefill: one token, whatever is left. Raises ValueError where vLLM refuses a value.
    """
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    left = 1 if one_token else sampling.max_tokens - delivered_tokens
    given = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repetition_penalty": sampling.repetition_penalty,
        "seed": sampling.seed,
        "thinking_token_budget": sampling.thinking_tokens_max,
    }
    params = SamplingParams(
        max_tokens=left,
        min_tokens=min(left, max(0, sampling.min_tokens - delivered_tokens)),
        stop_token_ids=list(sampling.stop_token_ids),
        ignore_eos=sampling.ignore_eos,
        logit_bias=dict(sampling.logit_bias) or None,
        allowed_token_ids=list(sampling.allowed_token_ids) or None,
        structured_outputs=None if sampling.structured is None else _structured(sampling.structured),
        logprobs=sampling.logprobs,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
        extra_args=extra_args,
        **{name: value for name, value in given.items() if value is not None},
    )
    if sampling.bad_words:
        # vLLM's own way from text to tokens ends here too; the gateway has gone it already.
        params._bad_words_token_ids = [list(word) for word in sampling.bad_words]
    return params


def _structured(structured: Structured) -> Any:
    """vLLM's StructuredOutputsParams."""
    from vllm.sampling_params import StructuredOutputsParams

    match structured.kind:
        case StructuredKind.JSON_SCHEMA:
            return StructuredOutputsParams(json=structured.value)
        case StructuredKind.JSON_OBJECT:
            return StructuredOutputsParams(json_object=True)
        case StructuredKind.REGEX:
            return StructuredOutputsParams(regex=structured.value)
        case StructuredKind.CHOICE:
            return StructuredOutputsParams(choice=_choices(structured.value))
        case StructuredKind.GRAMMAR:
            return StructuredOutputsParams(grammar=structured.value)
        case StructuredKind.STRUCTURAL_TAG:
            return StructuredOutputsParams(structural_tag=structured.value)


def _choices(listed: str) -> list[str]:
    choices = json.loads(listed)
    if not isinstance(choices, list) or not choices or not all(isinstance(c, str) for c in choices):
        raise ValueError("the choices are not a JSON list of texts")
    return choices


def extra_args(
    job: Job, *, offers: bool, replays: bool, connector_params: dict[str, Any]
) -> dict[str, Any] | None:
    """What the KV connector and the replay are told of a job, as vLLM's `extra_args`."""
    given: dict[str, Any] = {}
    if job.kind is JobKind.PREFILL and offers:
        given["kv_transfer_params"] = {"do_remote_decode": True, "do_remote_prefill": False}
    if job.kind is JobKind.ADOPT:
        given["kv_transfer_params"] = connector_params
    if replays:
        given[DELIVERED] = job.delivered.tolist()
    return given or None
