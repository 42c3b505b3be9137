"""Engine arguments by name, the same for every engine and for `pdmesh up`."""

import json
from dataclasses import dataclass, fields

from services.common.settings import setting


@dataclass(frozen=True, slots=True)
class EngineArguments:
    """The engine arguments most often set; `engine_arg` takes any other.

    Nothing is checked here: the engine validates them before it loads a model.
    """

    tensor_parallel_size: int | None = setting(None, "Accelerators per worker that share one model")
    dtype: str | None = setting(None, "Type of weights and activations")
    quantization: str | None = setting(None, "Quantization method of the weights")
    kv_cache_dtype: str | None = setting(None, "Type of the KV cache")
    block_size: int | None = setting(None, "Tokens per KV block")
    max_model_len: int | None = setting(None, "Longest prompt and answer together, in tokens")
    max_num_seqs: int | None = setting(None, "Requests that run at once at most")
    max_num_batched_tokens: int | None = setting(None, "Tokens per engine step at most")
    gpu_memory_utilization: float | None = setting(None, "Share of an accelerator's memory to use, 0 to 1")
    enable_prefix_caching: bool | None = setting(None, "Reuse the KV of common prompt beginnings")
    enable_chunked_prefill: bool | None = setting(None, "Run long prompts in pieces")
    speculative_config: str | None = setting(None, "Speculative decoding, a JSON object")
    handoff_mode: str | None = setting(
        None,
        "Which side moves KV, the same for all workers of a model; not set: pull",
        choices=("pull", "push"),
    )
    engine_arg: tuple[str, ...] = setting((), "Any other engine argument, KEY=VALUE")

    def pairs(self) -> tuple[str, ...]:
        """All that are set, as KEY=VALUE with dashed keys; free ones last, so that they win."""
        named = ((f.name, getattr(self, f.name)) for f in fields(self) if f.name != "engine_arg")
        given = (f"{name.replace('_', '-')}={_text(value)}" for name, value in named if value is not None)
        return (*given, *self.engine_arg)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
