"""The scheduler's side of the handoff: decides what is taken over and what is offered.

Runs in vLLM's engine process. It adds to the stock schedulers, of pulls and of pushes: adoption of prompt +
first token, a deadline, and news of each handoff.
"""

import time
from typing import TYPE_CHECKING, Any

from vllm.config import VllmConfig
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorMetadata
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.base_scheduler import NixlBaseConnectorScheduler
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.pull_scheduler import NixlPullConnectorScheduler
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.push_scheduler import NixlPushConnectorScheduler

from services.worker.engine.vllm.jobs import PULL_DEADLINE
from services.worker.engine.vllm.news import FREED, PULLING, SETTLED, HandoffNews
from services.worker.engine.vllm.replay import replays

if TYPE_CHECKING:
    from vllm.v1.core.kv_cache_manager import KVCacheBlocks
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.kv_cache_interface import KVCacheConfig
    from vllm.v1.outputs import KVConnectorOutput
    from vllm.v1.request import Request

OFFERED_AS = "mesh_offered_as"
"""Key in a decode worker's word: what the prefill worker calls the request."""


class _Handoffs(NixlBaseConnectorScheduler):  # type: ignore[misc]
    """What the mesh adds to either stock scheduler; a mixin before it."""

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


class PullScheduler(_Handoffs, NixlPullConnectorScheduler):  # type: ignore[misc]
    """For decode workers that read."""


class PushScheduler(_Handoffs, NixlPushConnectorScheduler):  # type: ignore[misc]
    """For prefill workers that write, once a decode worker has told them where."""

    def update_state_after_alloc(
        self, request: "Request", blocks: "KVCacheBlocks", num_external_tokens: int
    ) -> None:
        """Queue the request's word to the prefill worker, by that one's own name of the request."""
        params = request.kv_transfer_params or {}
        is_offered = bool(params.get("do_remote_prefill"))
        super().update_state_after_alloc(request, blocks, num_external_tokens)
        if is_offered and num_external_tokens <= 0:
            self._turn_down(request)
        elif (told := self._push_pending_registrations.get(request.request_id)) is not None:
            told[OFFERED_AS] = params["remote_request_id"]

    def request_finished(
        self, request: "Request", block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        """The same, and what was offered and never wanted is given back."""
        params = request.kv_transfer_params or {}
        if params.get("do_remote_prefill"):
            self._turn_down(request)
        return super().request_finished(request, block_ids)

    def _turn_down(self, request: "Request") -> None:
        """Let the prefill worker free what nobody needs: all of it is here, or the request is gone."""
        params = request.kv_transfer_params or {}
        params["do_remote_prefill"] = False
        self._push_pending_registrations[request.request_id] = {
            "request_id": request.request_id,
            OFFERED_AS: params["remote_request_id"],
            "local_block_ids": (),
            "remote_engine_id": params["remote_engine_id"],
            "remote_host": params["remote_host"],
            "remote_port": params["remote_port"],
            "remote_tp_size": params["tp_size"],
            "remote_pp_size": params.get("pp_size", 1),
        }
