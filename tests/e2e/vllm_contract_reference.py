"""What vLLM's own `LLM` class makes of shaped requests, alone in a process.

`python -m tests.e2e.vllm_contract_reference MODEL_DIR ADAPTER_DIR` reads a JSON list of [prompt token ids,
keyword arguments of SamplingParams, whether with the adapter] on stdin, and writes a list of [token ids,
logprobs of the chosen tokens or null] to stdout's last line.
"""

import json
import os
import sys
from typing import Any


def main() -> None:
    """Generate for all, one after another, so that nothing is batched."""
    os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "OMP_NUM_THREADS": "1",
    }
    from vllm import LLM
    from vllm.lora.request import LoRARequest

    engine = LLM(
        model=sys.argv[1],
        dtype="float32",
        max_model_len=4096,
        enforce_eager=True,
        enable_prefix_caching=False,
        enable_lora=True,
        max_lora_rank=8,
        structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
        kv_cache_memory_bytes=64 << 20,
        use_tqdm_on_load=False,
    )
    adapter = LoRARequest("style", 1, sys.argv[2])
    answers = []
    for prompt, given, with_adapter in json.load(sys.stdin):
        [result] = engine.generate(
            {"prompt_token_ids": prompt},
            _params(given),
            use_tqdm=False,
            lora_request=adapter if with_adapter else None,
        )
        [answer] = result.outputs
        ids = list(answer.token_ids)
        told = answer.logprobs and [of[i].logprob for i, of in zip(ids, answer.logprobs, strict=True)]
        answers.append([ids, told])
    print(json.dumps(answers))


def _params(given: dict[str, Any]) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    structured = given.pop("structured_outputs", None)
    bad_words = given.pop("bad_words", None)
    params = SamplingParams(detokenize=False, **given)
    if structured:
        params.structured_outputs = StructuredOutputsParams(**structured)
    if bad_words:
        params._bad_words_token_ids = bad_words
    return params


if __name__ == "__main__":
    main()
