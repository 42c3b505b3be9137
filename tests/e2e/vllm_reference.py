"""Greedy tokens of vLLM's own `LLM` class, alone in a process: what every other path must equal.

`python -m tests.e2e.vllm_reference MODEL_DIR [TOKENS]` reads [[prompt token ids], ...] as JSON on stdin and
writes [[generated token ids], ...] to stdout's last line.
"""

import json
import os
import sys

TOKENS = 24


def main() -> None:
    """Generate for all prompts, one after another, so that nothing is batched."""
    os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "OMP_NUM_THREADS": "1",
    }
    from vllm import LLM, SamplingParams

    engine = LLM(
        model=sys.argv[1],
        dtype="float32",
        max_model_len=4096,
        enforce_eager=True,
        enable_prefix_caching=False,
        kv_cache_memory_bytes=64 << 20,
        use_tqdm_on_load=False,
    )
    count = int(sys.argv[2]) if len(sys.argv) > 2 else TOKENS
    params = SamplingParams(temperature=0.0, max_tokens=count, ignore_eos=True, detokenize=False)
    generated = []
    for prompt in json.load(sys.stdin):
        [result] = engine.generate({"prompt_token_ids": prompt}, params, use_tqdm=False)
        generated.append(list(result.outputs[0].token_ids))
    print(json.dumps(generated))


if __name__ == "__main__":
    main()
