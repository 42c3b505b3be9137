"""The one place that knows which engines exist."""

from services.common.domain import Role
from services.common.errors import BadSetting
from services.worker.engine import Engine
from services.worker.engine_arguments import EngineArguments
from services.worker.settings import WorkerSettings


def create_engine(settings: WorkerSettings, arguments: EngineArguments, role: Role) -> Engine:
    """The chosen engine, not started; raises a `Startup` error for what is wrong before loading a model."""
    if settings.engine not in _FACTORIES:
        raise BadSetting(f"--engine: {settings.engine!r} is not one of {', '.join(_FACTORIES)}")
    return _FACTORIES[settings.engine](settings, arguments, role)


def _vllm(settings: WorkerSettings, arguments: EngineArguments, role: Role) -> Engine:
    from services.worker.engine import vllm

    return vllm.create(
        settings.model,
        settings.name,
        role,
        vllm.EngineArguments(
            passthrough=arguments.pairs(),
            handoff_lease_ms=settings.handoff_lease_ms,
            grammar_burst_ms=settings.grammar_burst_ms,
            grammar_token_ms=settings.grammar_token_ms,
        ),
        cores=settings.cores,
        side_channel_port=settings.side_channel_port,
        worker_id=settings.worker_id,
        adapters=settings.adapters,
    )


def _sim(settings: WorkerSettings, arguments: EngineArguments, role: Role) -> Engine:
    from services.worker.engine import sim

    pairs = (f"handoff-lease-ms={settings.handoff_lease_ms}", *arguments.pairs())
    return sim.create(settings.model, settings.name, role, pairs, settings.adapters)


_FACTORIES = {"vllm": _vllm, "sim": _sim}
