"""vLLM's NIXL connectors as the mesh needs them. Runs in vLLM's engine process; loaded by module path.

They add to the stock connectors, of pulls and of pushes: a progress thread that sleeps, adoption of prompt +
first token, explicit release of offered KV, a deadline before which a pull must begin, news of each handoff.
The classes keep vLLM's names, because vLLM chooses memory layouts by them.
"""

import os
from typing import TYPE_CHECKING, Any, cast

from vllm.config import VllmConfig
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole
from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorStats
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.connector import NixlBaseConnector, NixlPullConnector
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.connector import (
    NixlPushConnector as StockPushConnector,
)
from vllm.forward_context import ForwardContext
from vllm.platforms import current_platform

from services.worker.engine.vllm.grammars import bound_grammars
from services.worker.engine.vllm.idle_pace import IdlePace
from services.worker.engine.vllm.news import HandoffNews
from services.worker.engine.vllm.parent import leave_ctrl_c_to_parent
from services.worker.engine.vllm.scheduling import PullScheduler, PushScheduler
from services.worker.engine.vllm.seeds import spare_thrown_away_draws
from services.worker.engine.vllm.transfer import PullWorker, PushWorker

if TYPE_CHECKING:
    from vllm.v1.kv_cache_interface import KVCacheConfig


class _Connector(NixlBaseConnector):  # type: ignore[misc]
    """What both directions share. vLLM makes one for its scheduler and one for each worker."""

    _scheduler_type: type[PullScheduler | PushScheduler]
    _worker_type: type[PullWorker | PushWorker]
    connector_scheduler: PullScheduler | PushScheduler | None
    connector_worker: PullWorker | PushWorker | None

    def __init__(
        self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: "KVCacheConfig"
    ) -> None:
        # The stock connectors would build their own scheduler and worker, and an agent that spins.
        NixlBaseConnector.__init__(self, vllm_config, role, kv_cache_config)
        if role == KVConnectorRole.SCHEDULER:
            leave_ctrl_c_to_parent()
            extra = vllm_config.kv_transfer_config.kv_connector_extra_config
            bound_grammars(extra["mesh_grammar_token_ms"], extra["mesh_grammar_burst_ms"])
            self.connector_scheduler = self._scheduler_type(vllm_config, self.engine_id, kv_cache_config)
        else:
            self._pace = IdlePace()
            cores = os.sched_getaffinity(0)
            self.connector_worker = self._worker_type(vllm_config, self.engine_id, kv_cache_config)
            # On a CPU the stock worker moves the engine's thread to the machine's last core.
            os.sched_setaffinity(0, cores)
            if current_platform.is_cpu():
                spare_thrown_away_draws()

    def start_load_kv(self, forward_context: ForwardContext, **kwargs: Any) -> None:
        """Begin this step's transfers."""
        super().start_load_kv(forward_context, **kwargs)
        worker = cast(PullWorker, self.connector_worker)  # vLLM calls this on the worker's side only
        self._pace.step(forward_context, receiving=worker.is_receiving)

    @classmethod
    def build_kv_connector_stats(cls, data: dict[str, Any] | None = None) -> KVConnectorStats:
        """News from their serialised form."""
        return HandoffNews(data=data) if data is not None else HandoffNews()

    def get_kv_connector_stats(self) -> KVConnectorStats | None:
        """This side's news since the last step."""
        if self.connector_worker is not None:
            return self.connector_worker.get_kv_connector_stats()
        return cast(PullScheduler, self.connector_scheduler).take_news()


class NixlConnector(_Connector, NixlPullConnector):  # type: ignore[misc]
    """Decode workers read."""

    _scheduler_type, _worker_type = PullScheduler, PullWorker


class NixlPushConnector(_Connector, StockPushConnector):  # type: ignore[misc]
    """Prefill workers write."""

    _scheduler_type, _worker_type = PushScheduler, PushWorker


class WorkerCalls:
    """Methods that vLLM adds to its worker class, so that the front can call them on every rank."""

    model_runner: Any
    """The worker's."""

    def mesh_release(self, request_ids: list[str]) -> None:
        """Free the offered KV of these requests; unknown ones are ignored."""
        _handoffs().release(request_ids)

    def mesh_leave_ctrl_c(self) -> None:
        """Leave Ctrl-C to the worker, as engines with a connector do."""
        leave_ctrl_c_to_parent()

    def mesh_spare_output_tokens(self) -> None:
        """Keep vLLM from waiting for a step's tokens before it samples the next: the replay only counts them.

        vLLM does so for every request wherever there is a logits processor that is not its own.
        """
        self.model_runner.input_batch.logitsprocs_need_output_token_ids = False

    def mesh_kv_block_size_bytes(self) -> int:
        """Bytes of one KV block over all layers of this rank."""
        return _handoffs().kv_block_size_bytes


def _handoffs() -> PullWorker | PushWorker:
    from vllm.distributed.kv_transfer import get_kv_transfer_group

    return cast(PullWorker, get_kv_transfer_group().connector_worker)
