"""Step times from kernels that were timed on the silicon."""

from collections.abc import Sequence

from services.planner import silicon
from services.planner.hardware.engine_spec import EngineSpec
from services.planner.silicon import Kernels
from services.worker.engine.sim.step_times import Curve, StepTimes, Surface

CONTEXTS = (1, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
SEQUENCES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
TOKENS = (
    *(1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 448, 512, 640, 768, 896),
    *(1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192, 12288, 16384),
)
PROMPTS = (
    16,
    128,
    256,
    512,
    768,
    1024,
    1536,
    2048,
    3072,
    4096,
    6144,
    8192,
    12288,
    16384,
    32768,
    65536,
    131072,
)


def measured(spec: EngineSpec) -> StepTimes:
    """The tables of an engine; raises `NotMeasured`."""
    kernels = silicon.compile_kernels(
        spec.model.config,
        spec.gpu.tables,
        tensor_parallel=spec.tensor_parallel,
        weights=spec.weights,
        kv=spec.kv,
    )
    return StepTimes(
        name=spec.label,
        source="measured",
        dense=Curve(TOKENS, tuple(kernels.dense_ms(tokens) for tokens in TOKENS)),
        decode_attention=Surface(SEQUENCES, tuple(_over_context(kernels, n) for n in SEQUENCES)),
        prefill_attention=_of(PROMPTS, kernels),
        kv_token_bytes=int(spec.kv_token_bytes),
        kv_blocks=spec.kv_blocks,
    )


def _over_context(kernels: Kernels, sequences: int) -> Curve:
    return Curve(CONTEXTS, tuple(kernels.decode_attention_ms(sequences, each) for each in CONTEXTS))


def _of(prompts: Sequence[int], kernels: Kernels) -> Curve:
    return Curve(tuple(prompts), tuple(kernels.prefill_attention_ms(tokens) for tokens in prompts))
