"""vLLM as an engine: the only place in the mesh that imports vLLM, torch or NIXL.

Importing this package costs nothing; vLLM itself is imported by `VllmEngine.start`.

    arguments    what may be set, checked before a model is loaded
    adapters     LoRA adapters on disk and in vLLM's requests
    cpu          what a CPU needs besides
    core         starting and stopping vLLM's engine process
    engine       the `Engine`: submits jobs, owns the loop over the engine's steps
    outputs      one vLLM step -> one `StepOutput`
    sampling     a job -> vLLM's request
    pooling      models that give vectors instead of text
    connector    the KV handoff over NIXL, inside the engine's process
    replay       delivered tokens as output once more, inside the engine's process
    replay_v2    the same for vLLM's second model runner
    complaints   vLLM's errors in words for callers
    grammars     bounds on what a grammar may cost, inside the engine's process
    seeds        seeded requests on a CPU, inside the engine's process
    fingerprint  what must agree between two workers
    kv_events    changes of the prefix cache
"""

from collections.abc import Mapping

from services.common.domain import Role
from services.worker.engine.interface import Engine
from services.worker.engine.vllm.adapters import read
from services.worker.engine.vllm.arguments import EngineArguments
from services.worker.engine.vllm.checks import require_components, require_model

__all__ = ["EngineArguments", "create"]


def create(
    model: str,
    served_model_name: str,
    role: Role,
    arguments: EngineArguments,
    *,
    cores: str = "",
    side_channel_port: int = 0,
    worker_id: str = "",
    adapters: Mapping[str, str] | None = None,
) -> Engine:
    """An engine, not started: cheap, imports no vLLM.

    `model` is a directory or a Hugging Face id. `cores` lists the CPU cores of a CPU engine ("0", "2-5",
    "0,2"); empty means those that the process may use. `side_channel_port` is where decode workers ask for
    this worker's memory registrations; 0 takes a free one. `adapters` are directories of LoRA adapters by
    name. Raises `ModelMissing`, `ComponentMissing` or
    `BadSetting`.
    """
    from services.worker.engine.vllm.engine import VllmEngine

    require_model(model)
    require_components()
    arguments.check_syntax()
    return VllmEngine(
        model,
        served_model_name,
        role,
        arguments,
        cores=cores,
        side_channel_port=side_channel_port,
        worker_id=worker_id,
        adapters=read(adapters or {}),
    )
