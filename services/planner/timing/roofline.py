"""Step times from a model's shape and a GPU's peak rates, for what no table has."""

from dataclasses import dataclass, replace

from services.planner.hardware.engine_spec import EngineSpec
from services.planner.hardware.precision import Precision
from services.planner.timing.host import VLLM
from services.worker.engine.sim.step_times import Curve, Host, StepTimes, Surface

TOKENS = (1, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
SEQUENCES = (1, 64, 512)
CONTEXTS = (1, 131072)
PROMPTS = (16, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
FLOPS_PER_WEIGHT = 2
"""One multiplication and one addition for each weight and token."""
ATTENTION_FLOPS = 4
"""Queries times keys and weights times values, two operations each."""
TRANSFERS_PER_LAYER = 2
"""All-reduces of tensor parallelism: after attention and after the feed-forward block."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """How much of the peak is reached; the usual figures for vLLM with CUDA graphs."""

    bandwidth_share: float = 0.75
    """Of the memory's bandwidth, when weights and KV are read."""
    compute_share: float = 0.55
    """Of the arithmetic's peak, in prompts of many tokens."""
    attention_share: float = 0.35
    """Of the 16-bit arithmetic's peak, in attention of prompts."""
    transfer_share: float = 0.5
    """Of the links' bandwidth, in all-reduces."""
    layer_us: float = 25.0
    """Fixed time of one layer: launches, norms, all-reduces' latency."""
    host: Host = VLLM
    """Time outside the kernels."""


def roofline(spec: EngineSpec, coefficients: Coefficients | None = None) -> StepTimes:
    """The tables of an engine: the longer of reading and computing, plus what is fixed."""
    engine = _Engine(spec, coefficients or Coefficients())
    return StepTimes(
        name=spec.label,
        source="roofline",
        dense=Curve(TOKENS, tuple(engine.dense_ms(tokens) for tokens in TOKENS)),
        decode_attention=Surface(SEQUENCES, tuple(engine.over_context(n) for n in SEQUENCES)),
        prefill_attention=Curve(PROMPTS, tuple(engine.prefill_attention_ms(n) for n in PROMPTS)),
        kv_token_bytes=int(spec.kv_token_bytes),
        kv_blocks=spec.kv_blocks,
    ).with_host(replace(engine.share.host, prompt_factor=1.0))


@dataclass(frozen=True, slots=True)
class _Engine:
    spec: EngineSpec
    share: Coefficients

    @property
    def _gpus(self) -> int:
        return self.spec.tensor_parallel

    @property
    def _read_bytes_per_ms(self) -> float:
        return self.spec.gpu.bandwidth_gb_per_s * 1e6 * self.share.bandwidth_share

    @property
    def _flops_per_ms(self) -> float:
        eight_bits = self.spec.weights is Precision.FP8
        peak = self.spec.gpu.tflops_8 if eight_bits else self.spec.gpu.tflops_16
        return peak * 1e9 * self.share.compute_share

    def dense_ms(self, tokens: int) -> float:
        shape = self.spec.model.shape
        head = shape.vocab_size * shape.hidden_size
        read_bytes = (
            self._layers_read(tokens) * self.spec.weights.size_bytes + head * Precision.BF16.size_bytes
        )
        flops = FLOPS_PER_WEIGHT * tokens * shape.active_layer_parameters
        longest_ms = max(read_bytes / self._read_bytes_per_ms, flops / self._flops_per_ms) / self._gpus
        return longest_ms + shape.layers * self.share.layer_us / 1e3 + self._transfers_ms(tokens)

    def _layers_read(self, tokens: int) -> float:
        """Weights of the layers that a step reads: of experts, those that some token asks for."""
        shape = self.spec.model.shape
        if shape.experts == 1:
            return shape.layer_parameters
        missed = (1 - shape.experts_per_token / shape.experts) ** tokens
        rest = shape.layer_parameters - shape.active_layer_parameters
        shared = shape.active_layer_parameters
        return shared + rest * (1 - missed)

    def _transfers_ms(self, tokens: int) -> float:
        if self._gpus == 1:
            return 0.0
        shape = self.spec.model.shape
        moved = 2 * (self._gpus - 1) / self._gpus * tokens * shape.hidden_size * Precision.BF16.size_bytes
        rate = self.spec.gpu.peer_gb_per_s * 1e6 * self.share.transfer_share
        return shape.layers * TRANSFERS_PER_LAYER * moved / rate

    def over_context(self, sequences: int) -> Curve:
        per_token_ms = self.spec.kv_token_bytes / self._gpus / self._read_bytes_per_ms
        return Curve(CONTEXTS, tuple(sequences * each * per_token_ms for each in CONTEXTS))

    def prefill_attention_ms(self, tokens: int) -> float:
        shape = self.spec.model.shape
        width = shape.attention_heads * shape.head_size
        flops = ATTENTION_FLOPS * shape.layers * width * tokens * tokens / 2
        rate = self.spec.gpu.tflops_16 * 1e9 * self.share.attention_share
        return flops / rate / self._gpus
