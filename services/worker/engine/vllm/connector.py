"""vLLM's NIXL connector as the mesh needs it. Runs in vLLM's engine process; loaded by module path.

It adds to the stock pull connector: a progress thread that sleeps, adoption of prompt + first token, explicit
release of offered KV, a deadline before which a pull must begin, and news of each handoff.
The class keeps vLLM's name, because vLLM chooses memory layouts by it.
"""

import os
import time
from typing import TYPE_CHECKING, Any, cast

from vllm.config import VllmConfig
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorMetadata, KVConnectorRole
from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorStats
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.connector import NixlBaseConnector, NixlPullConnector
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.pull_scheduler import NixlPullConnectorScheduler
from vllm.forward_context import ForwardContext
from vllm.platforms import current_platform

from services.worker.engine.vllm.idle_pace import IdlePace
from services.worker.engine.vllm.jobs import PULL_DEADLINE
from services.worker.engine.vllm.news import FREED, PULLING, SETTLED, HandoffNews
from services.worker.engine.vllm.parent import leave_ctrl_c_to_parent
from services.worker.engine.vllm.replay import replays
from services.worker.engine.vllm.seeds import spare_thrown_away_draws
from services.worker.engine.vllm.transfer import HandoffWorker

if TYPE_CHECKING:
    from vllm.v1.core.kv_cache_manager import KVCacheBlocks
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.kv_cache_interface import KVCacheConfig
    from vllm.v1.outputs import KVConnectorOutput
    from vllm.v1.request import Request


class HandoffScheduler(NixlPullConnectorScheduler):  # type: ignore[misc]
    """The scheduler's side: decides what is pulled and what is offered."""

    def __init__(self, vllm_config: VllmConfig, engine_id: str, kv_cache_config: "KVCacheConfig") -> None:
        super().__init__(vllm_config, engine_id, kv_cache_config)
        if self._prefill_backoff():
            raise NotImplementedError(
                "models with recurrent state or multi-token prediction cannot hand over after one token"
            )
        self._news = HandoffNews()
        self._sampled_in_prompt = 1

    def get_num_new_matched_tokens(self, request: "Request", num_computed_tokens: int) -> tuple[int, bool]:
        """How many tokens beyond the computed ones are to be pulled, and whether while others run."""
        self._sampled_in_prompt = 0 if replays(request) else 1
        return super().get_num_new_matched_tokens(request, num_computed_tokens)  # type: ignore[no-any-return]

    def _get_remote_prefill_token_count(self, num_prompt_tokens: int) -> int:
        """All but the token that the prefill worker sampled: its KV exists nowhere yet.

        It is the prompt's last one, unless the request generates it again.
        """
        return num_prompt_tokens - self._sampled_in_prompt

    def update_state_after_alloc(
        self, request: "Request", blocks: "KVCacheBlocks", num_external_tokens: int
    ) -> None:
        """Queue the request's pull."""
        super().update_state_after_alloc(request, blocks, num_external_tokens)
        if request.request_id in self._reqs_need_recv and num_external_tokens > 0:
            self._news.note(PULLING, request.request_id)

    def build_connector_meta(self, scheduler_output: "SchedulerOutput") -> KVConnectorMetadata:
        """This step's orders to the workers, with the seconds left to begin each pull."""
        now = time.monotonic()
        seconds_left = {
            request_id: deadline - now
            for request_id, (request, *_) in self._reqs_need_recv.items()
            if (deadline := (request.kv_transfer_params or {}).get(PULL_DEADLINE)) is not None
        }
        meta = super().build_connector_meta(scheduler_output)
        meta.pull_seconds_left = seconds_left
        return meta

    def request_finished(
        self, request: "Request", block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        """Offer a prefill's KV, unless its first token ended the answer: then nobody will adopt it."""
        from vllm.v1.request import RequestStatus

        params = request.kv_transfer_params or {}
        if params.get("do_remote_decode") and request.status == RequestStatus.FINISHED_STOPPED:
            self._reqs_not_processed.add(request.request_id)
            self._reqs_need_save.pop(request.request_id, None)
            return False, None
        return super().request_finished(request, block_ids)  # type: ignore[no-any-return]

    def update_connector_output(self, connector_output: "KVConnectorOutput") -> None:
        """Note what all ranks have finished sending or receiving."""
        super().update_connector_output(connector_output)
        for request_id in connector_output.finished_sending or ():
            self._news.note(FREED, request_id)
        for request_id in connector_output.finished_recving or ():
            self._news.note(SETTLED, request_id)

    def take_news(self) -> HandoffNews | None:
        """News since the last call; None when there are none."""
        return None if self._news.is_empty() else self._news.clone_and_reset()


class NixlConnector(NixlPullConnector):  # type: ignore[misc]
    """The connector as vLLM instantiates it, once for its scheduler and once for each worker."""

    connector_scheduler: HandoffScheduler | None
    connector_worker: HandoffWorker | None

    def __init__(
        self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: "KVCacheConfig"
    ) -> None:
        # The stock pull connector would build its own scheduler and worker, and an agent that spins.
        NixlBaseConnector.__init__(self, vllm_config, role, kv_cache_config)
        if role == KVConnectorRole.SCHEDULER:
            leave_ctrl_c_to_parent()
            self.connector_scheduler = HandoffScheduler(vllm_config, self.engine_id, kv_cache_config)
        else:
            self._pace = IdlePace()
            cores = os.sched_getaffinity(0)
            self.connector_worker = HandoffWorker(vllm_config, self.engine_id, kv_cache_config)
            # On a CPU the stock worker moves the engine's thread to the machine's last core.
            os.sched_setaffinity(0, cores)
            if current_platform.is_cpu():
                spare_thrown_away_draws()

    def start_load_kv(self, forward_context: ForwardContext, **kwargs: Any) -> None:
        """Begin this step's pulls."""
        super().start_load_kv(forward_context, **kwargs)
        worker = cast(HandoffWorker, self.connector_worker)  # vLLM calls this on the worker's side only
        self._pace.step(forward_context, receiving=worker.is_receiving)

    @classmethod
    def build_kv_connector_stats(cls, data: dict[str, Any] | None = None) -> KVConnectorStats:
        """News from their serialised form."""
        return HandoffNews(data=data) if data is not None else HandoffNews()

    def get_kv_connector_stats(self) -> KVConnectorStats | None:
        """This side's news since the last step."""
        if self.connector_worker is not None:
            return self.connector_worker.get_kv_connector_stats()
        return cast(HandoffScheduler, self.connector_scheduler).take_news()


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


def _handoffs() -> HandoffWorker:
    from vllm.distributed.kv_transfer import get_kv_transfer_group

    return cast(HandoffWorker, get_kv_transfer_group().connector_worker)
