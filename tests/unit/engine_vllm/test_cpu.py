"""Cores of a CPU engine's ranks."""

import os

import pytest

from services.worker.engine.vllm import cpu
from services.worker.engine.vllm.arguments import EngineArguments


@pytest.mark.parametrize(
    ("cores", "ranks", "bound", "threads"),
    [
        ([0], 1, "0", "1"),
        ([0, 1], 1, "0,1", "2"),
        ([0, 1], 2, "0|1", "1"),
        ([2, 3, 6, 7], 2, "2,3|6,7", "2"),
        ([0, 1, 2], 2, "0|1", "1"),
        ([5], 2, "5|5", "1"),
        ([0, 1], 4, "0|1|0|1", "1"),
    ],
)
def test_each_rank_has_cores_of_its_own(
    cores: list[int], ranks: int, bound: str, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "VLLM_CPU_OMP_THREADS_BIND", "VLLM_CPU_NUM_OF_RESERVED_CPU"):
        monkeypatch.setenv(name, "to be undone")
    cpu.prepare_environment(cores, ranks)
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == bound
    assert os.environ["OMP_NUM_THREADS"] == threads


@pytest.mark.parametrize(
    ("passed", "ranks"),
    [
        ((), 1),
        (("tensor-parallel-size=2",), 2),
        (("--tensor_parallel_size=2", "pipeline-parallel-size=2"), 4),
    ],
)
def test_ranks_are_counted_however_they_are_asked_for(passed: tuple[str, ...], ranks: int) -> None:
    assert EngineArguments(passthrough=passed).ranks == ranks
    assert EngineArguments(tensor_parallel_size=2).ranks == 2
