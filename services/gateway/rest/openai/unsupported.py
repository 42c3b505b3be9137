"""The fields of chat and plain completions that change an answer and are not served."""

from typing import Any

from services.gateway.rest.openai.refused import Refused
from services.gateway.rest.openai.structured import FormatFields


class RefusedFields(FormatFields, kw_only=True):
    """Those that chat and plain completions share."""

    prompt_logprobs: Any = None
    logprob_token_ids: Any = None
    use_beam_search: Any = None
    length_penalty: Any = None
    logits_processors: Any = None
    truncate_prompt_tokens: Any = None
    truncation_side: Any = None
    watermarking: Any = None
    repetition_detection: Any = None
    vllm_xargs: Any = None
    kv_transfer_params: Any = None
    ec_transfer_params: Any = None
    mm_processor_kwargs: Any = None
    media_io_kwargs: Any = None
    mm_payload: Any = None
    return_mm_kwargs: Any = None
    return_token_offsets: Any = None
    return_prompt_text: Any = None
    routed_experts_prompt_start: Any = None
    stream_interval: Any = None


UNSUPPORTED: Refused = {
    "prompt_logprobs": (None,),
    "logprob_token_ids": (None, []),
    "use_beam_search": (None, False),
    "length_penalty": (None, 1),
    "logits_processors": (None, []),
    "truncate_prompt_tokens": (None,),
    "truncation_side": (None, "left", "right"),
    "watermarking": (None, False),
    "repetition_detection": (None, {}),
    "vllm_xargs": (None, {}),
    "kv_transfer_params": (None, {}),
    "ec_transfer_params": (None, {}),
    "mm_processor_kwargs": (None, {}),
    "media_io_kwargs": (None, {}),
    "mm_payload": (None, "tensors"),
    "return_mm_kwargs": (None, True),
    "return_token_offsets": (None, False),
    "return_prompt_text": (None, False),
    "routed_experts_prompt_start": (None, 0),
    "stream_interval": (None, 1),
}
"""Those of `RefusedFields`. A `truncation_side` alone truncates nothing."""
