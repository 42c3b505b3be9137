"""What an engine says of itself, from vLLM's finished configuration."""

import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

from services.common.domain import Capacity, Fingerprint
from services.worker.engine.vllm import cpu


def fingerprint(config: Any, served_model_name: str, on_cpu: bool) -> Fingerprint:
    """What must agree between two engines that hand KV over."""
    import vllm

    return Fingerprint(
        model=served_model_name,
        model_digest=model_digest(config.model_config),
        dtype=str(config.model_config.dtype).removeprefix("torch."),
        kv_dtype=config.cache_config.cache_dtype,
        block_size_tokens=config.cache_config.block_size,
        tensor_parallel_size=config.parallel_config.tensor_parallel_size,
        engine="vllm",
        engine_version=vllm.__version__,
        connector=_connector(config),
        hardware=cpu.instruction_set(config) if on_cpu else _gpu_architecture(),
    )


def _connector(config: Any) -> str:
    """Pulls and pushes do not go together, so the direction is part of it."""
    handoffs = config.kv_transfer_config
    pushes = handoffs is not None and "Push" in handoffs.kv_connector
    return f"nixl{' push' if pushes else ''} {importlib.metadata.version('nixl')}"


def capacity(config: Any, kv_block_size_bytes: int) -> Capacity:
    """What the engine can hold; vLLM keeps one KV block for itself.

    A model without a KV cache, as encoders are, has as many as its requests could fill: their number is the
    only bound.
    """
    blocks_per_text = -(-config.model_config.max_model_len // config.cache_config.block_size)
    kv_blocks = config.cache_config.num_gpu_blocks - 1
    return Capacity(
        kv_blocks=kv_blocks or config.scheduler_config.max_num_seqs * blocks_per_text,
        kv_block_size_bytes=kv_block_size_bytes,
        max_running_requests=config.scheduler_config.max_num_seqs,
        max_batched_tokens=config.scheduler_config.max_num_batched_tokens,
        max_model_len_tokens=config.model_config.max_model_len,
    )


def model_digest(model_config: Any) -> str:
    """The first 16 hex digits of the SHA-256 of config.json, or of the loaded config of a hub model."""
    path = Path(model_config.model) / "config.json"
    if path.is_file():
        content = path.read_bytes()
    else:
        content = json.dumps(model_config.hf_config.to_dict(), sort_keys=True, default=str).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def _gpu_architecture() -> str:
    from vllm.platforms import current_platform

    version = current_platform.get_device_capability()
    return f"sm{version.to_int()}" if version else str(current_platform.get_device_name())
