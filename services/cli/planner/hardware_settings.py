"""What the planner's commands have in common: which model, on which GPU, in which number formats."""

from dataclasses import dataclass

from services.common.settings import setting
from services.planner.hardware.engine_spec import EngineSpec
from services.planner.hardware.gpu import Gpu, gpu_of
from services.planner.hardware.model import Model, model_of
from services.planner.hardware.precision import Precision
from services.planner.timing.roofline import Coefficients


@dataclass(frozen=True, slots=True)
class HardwareSettings:
    """Model and GPU."""

    model: str = setting(
        "", "Model: a directory with config.json, a name on the Hugging Face hub, or a short name"
    )
    gpu: str = setting("h100", "GPU: a100, h100, h200, b200, b300, gb200, l40s, l4 or rtx-pro-6000")
    weights: str = setting("", "Number format of the weights; what the model's config says where not set")
    kv: str = setting("", "Number format of the KV cache; fp8 for weights of fp8, else 16 bits")
    memory_utilization: float = setting(
        0.9, "Share of a GPU's memory that the engine takes", least=0.1, most=1
    )
    block_size: int = setting(16, "Tokens of one KV block", least=1, most=512)
    roofline_bandwidth: float = setting(
        0.75, "Roofline: share of the memory's bandwidth that is reached", least=0.01, most=1
    )
    roofline_compute: float = setting(
        0.55, "Roofline: share of the arithmetic's peak that is reached", least=0.01, most=1
    )

    def model_and_gpu(self) -> tuple[Model, Gpu]:
        """Both by name; raises `BadSetting` or `ModelMissing`."""
        return model_of(self.model), gpu_of(self.gpu)

    def spec(self, tensor_parallel: int, *, batched_tokens_max: int, running_max: int) -> EngineSpec:
        """One engine of it; raises `BadSetting` or `ModelMissing`."""
        model, gpu = self.model_and_gpu()
        weights = Precision.parse(self.weights, "--weights") if self.weights else model.served_precision
        plain = Precision.FP8 if weights is Precision.FP8 else Precision.BF16
        return EngineSpec(
            model,
            gpu,
            tensor_parallel,
            weights,
            Precision.parse(self.kv, "--kv") if self.kv else plain,
            self.memory_utilization,
            batched_tokens_max,
            running_max,
            self.block_size,
        )

    def coefficients(self) -> Coefficients:
        """Of the roofline."""
        return Coefficients(bandwidth_share=self.roofline_bandwidth, compute_share=self.roofline_compute)
