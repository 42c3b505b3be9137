"""Starting and stopping vLLM's engine process."""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import textwrap
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

from services.common.domain import Role
from services.common.errors import BadSetting, ComponentMissing, EngineStartFailed, ModelMissing
from services.worker.engine.vllm import adapters, cpu, network
from services.worker.engine.vllm.adapters import Adapter
from services.worker.engine.vllm.arguments import EngineArguments, parse
from services.worker.engine.vllm.pooling import is_pooling
from services.worker.engine.vllm.root_cause import root_cause
from services.worker.engine.vllm.sockets import kv_events_endpoint

log = logging.getLogger("pdmesh.worker")

_KV_ROLE = {Role.PREFILL: "kv_producer", Role.DECODE: "kv_consumer", Role.BOTH: "kv_both"}

_CONNECTORS = {"pull": "NixlConnector", "push": "NixlPushConnector"}
_REPLAY = "services.worker.engine.vllm.replay:ReplayProcessor"
_REPLAY_V2 = "services.worker.engine.vllm.replay_v2:ReplayProcessorV2"


@dataclass(frozen=True, slots=True)
class Core:
    """A running engine process and what talks to it."""

    config: Any
    """vLLM's VllmConfig, completed by the engine process."""
    client: Any
    """vLLM's AsyncMPClient."""
    inputs: Any
    """vLLM's InputProcessor."""
    on_cpu: bool
    kv_events_endpoint: str
    side_channel: str
    """HOST:PORT where decode workers ask for memory registrations."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start."""

    model: str
    served_model_name: str
    role: Role
    arguments: EngineArguments
    cores: str
    side_channel_port: int
    worker_id: str
    adapters: Mapping[str, Adapter]


def start(plan: Plan, handoff_host: str) -> Core:
    """Import vLLM, check all arguments, start the engine process, wait until it has loaded the model.

    KV is handed over at `handoff_host`, an IP address of this host, unless the operator's variables name
    another.

    Blocks for seconds to minutes, so it runs in a thread. Raises a `Startup` error.
    """
    cores, side_channel = _prepare_environment(plan, handoff_host)
    with warnings.catch_warnings():
        # A forked engine process inherits the filters: its deprecations are no error of ours.
        warnings.simplefilter("ignore")
        try:
            return _start(plan, cores, side_channel)
        except ImportError as error:
            raise ComponentMissing(f"vLLM cannot be imported: {_one_line(error)}") from error


def stop(core: Core, grace_s: float) -> None:
    """End the engine process, by force after `grace_s`. Blocks, so it runs in a thread."""
    core.client.shutdown(timeout=grace_s)
    core.inputs.renderer.shutdown()


def children() -> set[BaseProcess]:
    """All processes that this one has started and that run."""
    return set(multiprocessing.active_children())


def processes(core: Core) -> list[BaseProcess]:
    """vLLM's own processes on this host; they end when those of their ranks do."""
    return list(getattr(core.client.resources.engine_manager, "processes", ()))


async def until_gone(core: Core) -> None:
    """Return when one of the engine's processes has ended.

    vLLM's own monitor joins the process before it tells anybody, and has been seen to wait there until
    another engine's process ended.
    """
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    sentinels = [process.sentinel for process in processes(core)]
    for sentinel in sentinels:
        loop.add_reader(sentinel, gone.set)
    try:
        await gone.wait()
    finally:
        for sentinel in sentinels:
            loop.remove_reader(sentinel)


def _start(plan: Plan, cores: list[int], side_channel: str) -> Core:
    from vllm.exceptions import VLLMError
    from vllm.platforms import current_platform
    from vllm.renderers import renderer_from_config
    from vllm.v1.engine.input_processor import InputProcessor

    endpoint = kv_events_endpoint()
    on_cpu = bool(current_platform.is_cpu())
    try:
        config = _build_config(plan, on_cpu, endpoint)
        inputs = InputProcessor(config, renderer_from_config(config))
    except OSError as error:
        raise ModelMissing(f"cannot load the model {plan.model}: {_one_line(error)}") from error
    except (ValueError, TypeError, NotImplementedError, VLLMError) as error:
        raise BadSetting(f"vLLM refuses its configuration: {_one_line(error)}") from error
    client = _start_process(config, on_cpu, cores)
    return Core(config, client, inputs, on_cpu, endpoint, side_channel)


def _start_process(config: Any, on_cpu: bool, cores: list[int]) -> Any:
    """vLLM's client of its engine process, which has loaded the model."""
    from vllm.v1.engine.core_client import EngineCoreClient
    from vllm.v1.executor import Executor

    from services.worker.engine.vllm.engine_process import follow_this_process

    follow_this_process()
    surroundings = cpu.engine_process(config, cores) if on_cpu else contextlib.nullcontext()
    with root_cause() as cause, surroundings:
        try:
            return EngineCoreClient.make_async_mp_client(config, Executor.get_class(config), log_stats=True)
        except Exception as error:  # whatever it is, the engine does not run, and the operator is told why
            raise EngineStartFailed(f"vLLM did not start: {cause.read() or _one_line(error)}") from error


def _build_config(plan: Plan, on_cpu: bool, kv_events_endpoint: str) -> Any:
    from vllm.config import KVEventsConfig
    from vllm.usage.usage_lib import UsageContext

    given = plan.arguments.settings()
    # With vLLM's own choice, whichever grammar library the first request needs serves all after it,
    # and two workers might differ.
    defaults = {"scheduling_policy": "priority", "structured_outputs_config": '{"backend": "xgrammar"}'}
    defaults |= adapters.default_arguments(plan.adapters.values(), on_cpu=on_cpu)
    if on_cpu:
        defaults |= cpu.default_arguments(given)
    args = parse(defaults | given | {"model": plan.model})
    adapters.check_places(args.max_loras, plan.adapters.values(), on_cpu=on_cpu)
    if on_cpu:
        cpu.choose_executor(args)
    args.served_model_name = [plan.served_model_name]
    args.disable_log_stats = False
    args.use_tqdm_on_load = False
    args.worker_extension_cls = "services.worker.engine.vllm.connector.WorkerCalls"
    generates = args.create_model_config().runner_type != "pooling"
    if generates:  # others have nothing to hand over, and many of them no KV cache
        args.kv_transfer_config = _handoffs(plan, args)
    tells = generates and args.enable_prefix_caching is not False
    args.kv_events_config = KVEventsConfig(
        enable_kv_cache_events=tells,
        publisher="zmq" if tells else "null",
        endpoint=kv_events_endpoint,
    )
    config = args.create_engine_config(UsageContext.ENGINE_CONTEXT)
    if can_replay(config):
        replay = _REPLAY_V2 if config.use_v2_model_runner else _REPLAY
        config.model_config.logits_processors = [*(config.model_config.logits_processors or ()), replay]
    return config


def _handoffs(plan: Plan, args: Any) -> Any:
    """vLLM's KVTransferConfig."""
    from vllm.config import KVTransferConfig

    return KVTransferConfig(
        kv_connector=_CONNECTORS[plan.arguments.handoff_mode],
        kv_connector_module_path="services.worker.engine.vllm.connector",
        kv_role=_kv_role(plan.role, args),
        kv_load_failure_policy="fail",
        kv_connector_extra_config={
            "kv_lease_duration": plan.arguments.handoff_lease_ms / 1_000,
            "mesh_margin_ms": plan.arguments.handoff_margin_ms,
            "mesh_grammar_token_ms": plan.arguments.grammar_token_ms,
            "mesh_grammar_burst_ms": plan.arguments.grammar_burst_ms,
        },
    )


def vocabulary_size(core: Core) -> int:
    """Token ids that the model can read lie below it; says so where its tokenizer makes others too."""
    size = int(core.config.model_config.get_vocab_size())
    tokenizer = core.inputs.tokenizer
    known = 0 if tokenizer is None else int(tokenizer.max_token_id) + 1
    if known > size:
        log.warning(
            "the tokenizer has token ids up to %d and the model reads those below %d: requests with others "
            "are refused; resize the model's embeddings, or remove the tokens that were added",
            known - 1,
            size,
        )
    return size


async def load_adapters(core: Core, wanted: Iterable[Adapter]) -> None:
    """Load all at once: one that does not fit would end the engine's process with its first request."""
    for adapter in wanted:
        try:
            await core.client.add_lora_async(adapter.request())
        except Exception as error:  # whatever it is, vLLM cannot load it, and the operator is told why
            raise BadSetting(f"LoRA adapter {adapter.name}: {_one_line(error)}") from error


def can_replay(config: Any) -> bool:
    """Whether requests can generate delivered tokens again: not with drafts, nor where ranks sample parts of
    a batch, because the replay tells rows apart by their place in it."""
    if is_pooling(config):
        return False
    return config.speculative_config is None and not config.parallel_config.enable_batch_sharded_sampling


async def kv_block_size_bytes(core: Core) -> int:
    """Bytes of one KV block over all ranks; 0 for a model whose KV is never handed over."""
    if is_pooling(core.config):
        # What else the connector sees to in a generating model's process.
        await core.client.collective_rpc_async("mesh_leave_ctrl_c")
        return 0
    return sum(await core.client.collective_rpc_async("mesh_kv_block_size_bytes"))


async def spare_output_tokens(core: Core) -> None:
    """See `WorkerCalls`; the operator's own logits processors may read the tokens."""
    if core.config.model_config.logits_processors == [_REPLAY]:
        await core.client.collective_rpc_async("mesh_spare_output_tokens")


def _kv_role(role: Role, args: Any) -> str:
    """Both directions, so that the worker can change its role.

    All that vLLM does differently then is to free a prefill's blocks one step later. Only a prefill whose
    context is computed in parallel cannot adopt.
    """
    return "kv_both" if args.prefill_context_parallel_size == 1 else _KV_ROLE[role]


def _prepare_environment(plan: Plan, handoff_host: str) -> tuple[list[int], str]:
    """Set variables that are read at import; those that the operator has set stay, except cores and port.

    Returns the cores, and where the side channel is.
    """
    cores = cpu.parse_cores(plan.cores)
    if cpu.is_cpu_build():
        cpu.prepare_environment(cores, plan.arguments.ranks)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", plan.arguments.log_level)
    os.environ.setdefault("NIXL_LOG_LEVEL", "WARN")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
    return cores, network.prepare_environment(handoff_host, plan.side_channel_port, plan.worker_id)


def _one_line(error: BaseException) -> str:
    """An error's reason; pydantic puts it into the second line, between labels."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and "validation error" in lines[0]:
        del lines[0]
    reason = lines[0].partition(" [type=")[0] if lines else type(error).__name__
    return textwrap.shorten(reason.removeprefix("Value error, "), 300)
