"""The only place that knows `aiconfigurator-core`: kernel times measured on GPUs, and models' configs.

The library is in the extra `plan`. Without it, or where its tables lack a model, a GPU or a number format,
the functions say so and whoever asks falls back to the roofline.
"""

import csv
import json
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from services.planner.hardware.precision import Precision

LIBRARY = "aiconfigurator_core"
BACKEND = "vllm"
OUTPUT_TOKENS = 2
"""The library averages a decode step's context over an answer; over two tokens it is the prompt's length."""

_GEMM = {
    Precision.BF16: "bfloat16",
    Precision.FP16: "bfloat16",
    Precision.FP8: "fp8_static",
    Precision.INT8: "int8_wo",
    Precision.INT4: "int4_wo",
}
_KV = {Precision.BF16: "bfloat16", Precision.FP16: "bfloat16", Precision.FP8: "fp8", Precision.INT8: "int8"}
_CLIENTS = re.compile(r"concurrency=(\d+)")


class NotMeasured(Exception):
    """The tables cannot say; the message says why."""


def is_installed() -> bool:
    """Whether the extra `plan` is there."""
    return find_spec(LIBRARY) is not None


def shipped_config(name: str) -> Mapping[str, Any] | None:
    """The config.json of a model that the library ships, by its name on the hub; None for others."""
    file = f"{name.replace('/', '--')}_config.json"
    for path in _config_files():
        if path.name.lower() == file.lower():
            found = json.loads(path.read_text("utf-8"))
            return found if isinstance(found, dict) else None
    return None


def shipped_names() -> list[str]:
    """Names of the models that the library ships."""
    names = (path.name.removesuffix("_config.json") for path in _config_files())
    return sorted(name.replace("--", "/", 1) for name in names if not name.endswith("_hf_quant"))


@cache
def _config_files() -> tuple[Path, ...]:
    if not is_installed():
        return ()
    directory = Path(str(resources.files(LIBRARY) / "model_configs"))
    return tuple(sorted(directory.glob("*_config.json")))


@dataclass(frozen=True, slots=True)
class Kernels:
    """A compiled model; milliseconds of parts of a step, as the sum of its kernels."""

    _handle: Any

    def dense_ms(self, tokens: int) -> float:
        """All kernels but attention's, for so many tokens."""
        return float(self._handle.mixed_step_breakdown(tokens, 0, tokens, OUTPUT_TOKENS)[1])

    def prefill_attention_ms(self, tokens: int) -> float:
        """Attention of one prompt of so many tokens over itself."""
        return float(self._handle.mixed_step_breakdown(tokens, 0, tokens, OUTPUT_TOKENS)[2])

    def decode_attention_ms(self, sequences: int, context_tokens: int) -> float:
        """Attention of so many sequences, each over so many tokens."""
        return float(self._handle.mixed_step_breakdown(0, sequences, context_tokens, OUTPUT_TOKENS)[3])


def compile_kernels(
    config: Mapping[str, Any], system: str, *, tensor_parallel: int, weights: Precision, kv: Precision
) -> Kernels:
    """The model's kernels on that GPU; raises `NotMeasured`. Takes 0.1 to 5 s."""
    if not is_installed():
        raise NotMeasured("the extra `plan` is not installed (pip install 'pdmesh[plan]')")
    if kv not in _KV:
        raise NotMeasured(f"no tables for KV in {kv.value}")
    with _quiet(), tempfile.TemporaryDirectory() as directory:
        # Number formats are ours to choose, so what the config says of them must not be seen.
        plain = {key: value for key, value in config.items() if key != "quantization_config"}
        Path(directory, "config.json").write_text(json.dumps(plain), "utf-8")
        from aiconfigurator_core.sdk.engine import EngineHandle

        modes = {"gemm_quant_mode": _GEMM[weights], "kvcache_quant_mode": _KV[kv]}
        try:
            handle = EngineHandle.compile(directory, system, BACKEND, tp_size=tensor_parallel, **modes)
            kernels = Kernels(handle)
            kernels.dense_ms(1)
        except Exception as error:  # the library's errors have no common base
            raise NotMeasured(str(error).partition("\n")[0][:200]) from error
        return kernels


@contextmanager
def _quiet() -> Iterator[None]:
    """The library logs its fallbacks for kernels that no dense model uses."""
    logger = logging.getLogger(LIBRARY)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True, slots=True)
class Point:
    """One published measurement of a whole engine: clients that each wait for their answers."""

    name: str
    model: str
    system: str
    precision: str
    tensor_parallel: int
    clients: int
    prompt_tokens: int
    output_tokens: int
    ttft_ms: float
    tpot_ms: float


def published_points() -> list[Point]:
    """Measurements of aggregated vLLM engines that the library brings for checking predictions."""
    if not is_installed():
        return []
    path = Path(str(resources.files(LIBRARY) / "systems" / "silicon_sample.csv"))
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["backend"] == BACKEND and row["mode"] == "agg"]
    return [point for row in rows if (point := _point(row)) is not None]


def _point(row: Mapping[str, str]) -> Point | None:
    clients = _CLIENTS.search(row["silicon_data_source"])
    if clients is None:
        return None
    return Point(
        row["id"],
        row["model_path"],
        row["system"],
        row["precision"],
        int(row["tp_size"]),
        int(clients[1]),
        int(row["isl"]),
        int(row["osl"]),
        float(row["silicon_ttft_ms"]),
        float(row["silicon_tpot_ms"]),
    )
