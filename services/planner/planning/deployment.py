"""How to start the fleet that a plan advises: the line for one host, and the chart's values."""

import shlex
from collections.abc import Iterator
from typing import Any

from services.planner.hardware.engine_spec import EngineSpec
from services.planner.hardware.precision import Precision
from services.planner.planning.candidate import THRESHOLD, Candidate, Sizes

_KV_WORDS = {Precision.FP8: "fp8", Precision.INT8: "int8"}
_WEIGHT_WORDS = {Precision.FP8: "fp8"}
"""Formats that an engine is told; others are the checkpoint's own."""


def up_line(candidate: Candidate, sizes: Sizes, context_tokens: int) -> str:
    """The command that starts all of it on one host, as a shell takes it."""
    spec = sizes.specs[candidate.decode_tp]
    words = ["pdmesh", "up", "--model", spec.model.name]
    words += ["--prefill", str(candidate.prefill), "--decode", str(candidate.decode)]
    for tier, size, running in _tiers(candidate, sizes):
        prefix = f"--{tier}-"
        flags = engine_flags(sizes.specs[size], running, context_tokens)
        words += [word for flag, value in flags for word in (prefix + flag, value)]
    return shlex.join(words)


def helm_values(candidate: Candidate, sizes: Sizes, context_tokens: int) -> dict[str, Any]:
    """Values of the chart in deploy/helm/pdmesh."""
    model = sizes.specs[candidate.decode_tp].model.name
    values: dict[str, Any] = {
        "model": {"path": model, "name": model.rpartition("/")[2].lower() or model},
        "prefill": {"replicas": candidate.prefill},
    }
    if candidate.threshold != THRESHOLD:
        values["router"] = {"args": [f"--local-prompt-tokens-max={candidate.threshold}"]}
    for tier, size, running in _tiers(candidate, sizes):
        flags = engine_flags(sizes.specs[size], running, context_tokens)
        values[tier] = {
            "replicas": candidate.prefill if tier == "prefill" else candidate.decode,
            "gpus": size,
            "args": [f"--{flag}={value}" for flag, value in flags if flag != "tensor-parallel-size"],
        }
    return values


def engine_flags(spec: EngineSpec, running: int, context_tokens: int) -> Iterator[tuple[str, str]]:
    """Flags of one tier's engines, without dashes."""
    yield "tensor-parallel-size", str(spec.tensor_parallel)
    if spec.weights in _WEIGHT_WORDS and spec.model.served_precision is not spec.weights:
        yield "quantization", _WEIGHT_WORDS[spec.weights]
    if spec.kv in _KV_WORDS:
        yield "kv-cache-dtype", _KV_WORDS[spec.kv]
    yield "max-model-len", str(context_tokens)
    yield "max-num-seqs", str(running)
    yield "max-num-batched-tokens", str(max(spec.batched_tokens_max, running))
    yield "gpu-memory-utilization", f"{spec.memory_utilization:g}"


def _tiers(candidate: Candidate, sizes: Sizes) -> Iterator[tuple[str, int, int]]:
    """Name, GPUs of a worker, sequences at most."""
    if not candidate.is_aggregated:
        yield "prefill", candidate.prefill_tp, sizes.specs[candidate.prefill_tp].running_max
    yield "decode", candidate.decode_tp, candidate.running_max
