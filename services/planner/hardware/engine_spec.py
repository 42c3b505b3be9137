"""One engine: a model in its number formats, spread over some GPUs of one kind."""

from dataclasses import dataclass

from services.common.errors import BadSetting
from services.planner.hardware.gpu import GIB, Gpu
from services.planner.hardware.model import Model
from services.planner.hardware.precision import Precision

BLOCK_SIZE_TOKENS = 16
"""vLLM's default on GPUs."""
MEMORY_UTILIZATION = 0.9
"""Share of a GPU's memory that vLLM takes, by default."""
RESERVED_BYTES_PER_GPU = 4 * GIB
"""What an engine needs beside weights and KV: activations, CUDA graphs, NCCL's buffers."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What runs in one worker."""

    model: Model
    gpu: Gpu
    tensor_parallel: int
    weights: Precision
    kv: Precision
    memory_utilization: float = MEMORY_UTILIZATION
    batched_tokens_max: int = 8_192
    """Tokens of one step, prompts and decoding together; `max_num_batched_tokens` of vLLM."""
    running_max: int = 256
    """Sequences of one step; `max_num_seqs` of vLLM."""
    block_size_tokens: int = BLOCK_SIZE_TOKENS

    @property
    def weights_bytes(self) -> float:
        """Of the whole model, over all GPUs of the engine."""
        return self.model.shape.weights_bytes(self.weights)

    @property
    def kv_token_bytes(self) -> float:
        """Of one token, over all GPUs of the engine. KV heads that do not divide among them are copied."""
        shape = self.model.shape
        copies = max(1, self.tensor_parallel // shape.kv_heads)
        return shape.kv_token_bytes(self.kv) * copies

    @property
    def kv_room_bytes(self) -> float:
        """Memory that is left for KV, over all GPUs of the engine; negative when the weights do not fit."""
        usable = self.gpu.memory_bytes * self.memory_utilization - RESERVED_BYTES_PER_GPU
        return usable * self.tensor_parallel - self.weights_bytes

    @property
    def kv_tokens(self) -> int:
        """Tokens whose KV fits, in whole blocks."""
        return self.kv_blocks * self.block_size_tokens

    @property
    def kv_blocks(self) -> int:
        """Blocks of KV that fit."""
        return max(0, int(self.kv_room_bytes // (self.kv_token_bytes * self.block_size_tokens)))

    @property
    def kv_outweighs_weights_tokens(self) -> float:
        """Tokens of one text from which on its KV is heavier than the weights."""
        return self.weights_bytes / self.kv_token_bytes

    @property
    def fits(self) -> bool:
        """Whether the weights leave room for at least one full step's tokens."""
        heads = self.model.shape.attention_heads
        return heads % self.tensor_parallel == 0 and self.kv_tokens >= self.batched_tokens_max

    def check(self) -> None:
        """Raise `BadSetting`, which says what would do, for a model that does not fit."""
        heads = self.model.shape.attention_heads
        if heads % self.tensor_parallel:
            raise BadSetting(
                f"{self.model.name} has {heads} attention heads, which {self.tensor_parallel} GPUs "
                "cannot share evenly: use 1, 2, 4 or 8"
            )
        if not self.fits:
            raise BadSetting(self._misfit())

    def _misfit(self) -> str:
        usable = self.gpu.memory_bytes * self.memory_utilization - RESERVED_BYTES_PER_GPU
        kv_bytes = self.kv_token_bytes * self.batched_tokens_max
        needed = int(-(-(self.weights_bytes + kv_bytes) // usable)) if usable > 0 else 0
        advice = f"it needs {needed} or more" if needed else "this GPU is too small for any engine"
        weight = f"{self.model.name} in {self.weights.value} weighs {self.weights_bytes / 1e9:.1f} GB"
        place = f"{self.tensor_parallel} x {self.gpu.name} with room for KV"
        return f"{weight} and does not fit {place}: {advice}, or fewer bits"

    @property
    def label(self) -> str:
        """For people, as in `llama-3.3-70b fp8, 2 x h100`."""
        return f"{self.model.name} {self.weights.value}, {self.tensor_parallel} x {self.gpu.name}"
