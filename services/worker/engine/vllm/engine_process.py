"""vLLM's engine process, which ends with the worker that started it, from its first line on."""

from typing import Any

from vllm.v1.engine.core import EngineCoreProc

from services.worker.engine.vllm.parent import follow_parent

_run = EngineCoreProc.run_engine_core


def run_engine_core(*args: Any, **kwargs: Any) -> None:
    """What the process does instead of vLLM's own: loading a model takes up to minutes, and a worker that is
    killed meanwhile must not leave it behind. Of several ranks each ends with this process."""
    follow_parent()
    _run(*args, **kwargs)


def follow_this_process() -> None:
    """Have all engine processes that this one starts end with it. Idempotent."""
    EngineCoreProc.run_engine_core = staticmethod(run_engine_core)
