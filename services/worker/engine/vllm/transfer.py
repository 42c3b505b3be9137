"""The worker's side of the handoff: moves KV over NIXL, keeps leases and deadlines."""

import contextlib
import logging
import socket
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorTransferResults
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.base_worker import NixlBaseConnectorWorker
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.metadata import (
    PUSH_REG_NOTIF_PREFIX,
    NixlConnectorMetadata,
    ReqMeta,
)
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.pull_worker import NixlPullConnectorWorker
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.push_worker import NixlPushConnectorWorker

from services.worker.engine.handoff_failure import transport_failed, unfit, unreachable
from services.worker.engine.vllm.news import EXPIRED, FAILED, PULLED, HandoffNews
from services.worker.engine.vllm.scheduling import OFFERED_AS
from services.worker.engine.vllm.ucx import UcxLog

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.kv_cache_interface import KVCacheConfig

_log = logging.getLogger("vllm.mesh.transfer")

PROGRESS_INTERVAL_US = 1_000
"""Sleep of NIXL's progress thread between two looks at the network; 0, NIXL's own choice, burns a core."""

CONNECT_TIMEOUT_S = 1.0
"""For the first contact with a prefill worker."""

MARGIN_MS = "mesh_margin_ms"
"""Key in the connector's extra configuration: how long a pull may take past its deadline to begin."""


class HandoffImpossible(Exception):
    """KV cannot come from a peer; the message says why, and what to do."""


class _Transfers(NixlBaseConnectorWorker):  # type: ignore[misc]
    """What the mesh adds to either stock worker: deadlines, explicit release, news of each request."""

    def __init__(self, vllm_config: "VllmConfig", engine_id: str, kv_cache_config: "KVCacheConfig") -> None:
        with paced_progress_thread():
            super().__init__(vllm_config, engine_id, kv_cache_config)
        self.xfer_stats = HandoffNews()
        self._margin_s = self.kv_transfer_config.get_from_extra_config(MARGIN_MS, 5_000) / 1_000
        self._released: set[str] = set()
        self._pull_deadline: dict[str, float] = {}
        self._moved: dict[str, tuple[int, float]] = {}
        self._ucx = UcxLog()
        self._why: dict[str, str] = {}
        """Why pulls failed, noted by whichever thread saw it."""

    @property
    def kv_block_size_bytes(self) -> int:
        """Bytes of one KV block over all layers of this rank."""
        return int(sum(self.block_len_per_layer) * self._physical_blocks_per_logical_kv_block)

    @property
    def is_receiving(self) -> bool:
        """Whether a pull is being set up or under way."""
        return bool(self._recving_metadata)

    def shutdown(self) -> None:
        """Let go of everything."""
        super().shutdown()
        if hasattr(self, "_ucx"):  # vLLM also calls this after an error in the constructor
            self._ucx.close()

    def release(self, request_ids: Iterable[str]) -> None:
        """Free offered KV at the next step. Requests that are not offered are ignored."""
        self._released.update(self._reqs_to_process.intersection(request_ids))

    def _reap_expired_send_leases(self, done_sending: set[str]) -> None:
        settled_before = set(done_sending)
        super()._reap_expired_send_leases(done_sending)
        for request_id in done_sending - settled_before:
            self.xfer_stats.note(EXPIRED, request_id)
        self._released -= done_sending
        for request_id in self._released & self._reqs_to_send.keys():
            self._forget_offer(request_id)
            done_sending.add(request_id)

    def _forget_offer(self, request_id: str) -> None:
        self._released.discard(request_id)
        self._reqs_to_process.discard(request_id)
        del self._reqs_to_send[request_id]
        self.consumer_notification_counts_by_req.pop(request_id, None)
        self.expected_consumer_notifications_by_req.pop(request_id, None)

    def start_load_kv(self, metadata: NixlConnectorMetadata) -> None:
        """Begin this step's pulls."""
        now = time.monotonic()
        for request_id, seconds_left in metadata.pull_seconds_left.items():
            self._pull_deadline[request_id] = now + seconds_left
        super().start_load_kv(metadata)
        # Pulls that only notify are never polled for.
        for request_id in metadata.pull_seconds_left.keys() - self._recving_metadata.keys():
            del self._pull_deadline[request_id]

    def _log_failure(self, failure_type: str, req_id: str | None, *args: Any, **context: Any) -> None:
        """One line for a failed transfer: the job goes on elsewhere, a peer that is gone needs no trace."""
        peer = context.get("dst_engine_id") or context.get("remote_engine_id") or "a peer"
        reason = context.get("error") or context.get("xfer_state") or ""
        said = self._ucx.last_error()
        _log.warning("KV of request %s from %s: %s %s %s", req_id, peer, failure_type, reason, said)
        if req_id is not None and failure_type != "notification_failed":
            self._why[req_id] = _why(reason, said)

    def _nixl_handshake(self, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        """Shake hands, once it is known that somebody listens: the stock handshake waits five seconds."""
        try:
            socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
        except OSError as error:
            raise HandoffImpossible(unreachable(host, port, error)) from error
        return super()._nixl_handshake(host, port, *args, **kwargs)

    def _transport(self, request_id: str) -> str:
        meta = self._recving_metadata.get(request_id)
        return self._ucx.transport_to(meta.remote.engine_id) if meta is not None and meta.remote else ""

    def get_transfer_results(self) -> KVConnectorTransferResults:
        """What has ended on this rank since the last step."""
        results = super().get_transfer_results()
        while self._why:
            self.xfer_stats.note(FAILED, list(self._why.popitem()))
        for request_id in results.finished_recving:
            self._pull_deadline.pop(request_id, None)
            self._moved.pop(request_id, None)
        return results

    def _pop_done_transfers(self, transfers: dict[str, list[Any]]) -> tuple[set[str], set[str]]:
        done: set[str] = set()
        failed: set[str] = set()
        for request_id in list(transfers):
            one = {request_id: transfers.pop(request_id)}
            now_done, now_failed = self._poll_one(request_id, one)
            transfers |= one
            done |= now_done
            failed |= now_failed
        return done, failed

    def _poll_one(self, request_id: str, handles: dict[str, list[Any]]) -> tuple[set[str], set[str]]:
        """Poll one request's transfers, adding up what they moved; a pull that ends too late has failed."""
        counters = self.xfer_stats.data
        seen = len(counters["bytes_transferred"])
        done, failed = super()._pop_done_transfers(handles)
        size_bytes, seconds = self._moved.pop(request_id, (0, 0.0))
        size_bytes += sum(counters["bytes_transferred"][seen:])
        seconds = max([seconds, *counters["transfer_duration"][seen:]])
        if not done:
            self._moved[request_id] = (size_bytes, seconds)
            return done, failed
        deadline = self._pull_deadline.get(request_id, float("inf"))
        if time.monotonic() > deadline + self._margin_s:
            failed.add(request_id)
        if not failed and request_id not in self._recv_failures:
            self._note_moved(request_id, size_bytes, seconds)
        return done, failed

    def _note_moved(self, request_id: str, size_bytes: int, seconds: float) -> None:
        self.xfer_stats.note(PULLED, [request_id, size_bytes, seconds, self._transport(request_id)])


class PullWorker(_Transfers, NixlPullConnectorWorker):  # type: ignore[misc]
    """Decode workers read."""

    def _read_blocks_for_req(self, req_id: str, meta: ReqMeta) -> None:
        """Read, unless the deadline has passed: the remote blocks may hold another prompt by now."""
        if meta.awaiting_kvs and time.monotonic() > self._pull_deadline.get(req_id, float("inf")):
            self._handle_failed_transfer(req_id, None, self._recv_failures, record_failed_transfer=False)
            return
        super()._read_blocks_for_req(req_id, meta)


class PushWorker(_Transfers, NixlPushConnectorWorker):  # type: ignore[misc]
    """Prefill workers write, once a decode worker has told them where.

    A decode worker sees only the end of it, so it takes the time itself, and gives up by itself.
    """

    def __init__(self, vllm_config: "VllmConfig", engine_id: str, kv_cache_config: "KVCacheConfig") -> None:
        super().__init__(vllm_config, engine_id, kv_cache_config)
        self._waiting_since: dict[str, float] = {}

    def start_load_kv(self, metadata: NixlConnectorMetadata) -> None:
        """Tell prefill workers where this step's KV belongs."""
        super().start_load_kv(metadata)
        for request_id in metadata.pull_seconds_left:
            self._waiting_since[request_id] = time.monotonic()

    def get_transfer_results(self) -> KVConnectorTransferResults:
        """What has ended on this rank since the last step; what does not come in time has failed."""
        now = time.monotonic()
        for request_id, deadline in self._pull_deadline.items():
            late = now > deadline + 2 * self._margin_s
            if late and request_id in self._recving_metadata and request_id not in self._recv_failures:
                self._failed_recv_reqs.put(request_id)
        results = super().get_transfer_results()
        for request_id in results.finished_recving:
            self._waiting_since.pop(request_id, None)
        return results

    def _note_moved(self, request_id: str, size_bytes: int, seconds: float) -> None:
        meta = self._recving_metadata.get(request_id)
        if meta is None:
            return  # one of this worker's own writes
        blocks = sum(len(group) for group in meta.local_block_ids)
        seconds = time.monotonic() - self._waiting_since.get(request_id, time.monotonic())
        super()._note_moved(request_id, blocks * self.kv_block_size_bytes, seconds)

    def _handle_push_reg_notif(self, notif: bytes) -> None:
        """Write what was offered under the name that the decode worker gives; free what it does not want."""
        told = msgspec.msgpack.decode(notif[len(PUSH_REG_NOTIF_PREFIX) :])
        offered_as = str(told[OFFERED_AS])
        blocks = self._push_finished_blocks.pop(offered_as, None)
        if not any(told["local_block_ids"]):
            self.release([offered_as])
        elif blocks is not None:
            self._do_start_push_kv(offered_as, blocks, told)
        else:
            self._pending_d_registrations[offered_as] = told


def _why(reason: object, ucx_said: str) -> str:
    """One line for the operator."""
    if isinstance(reason, HandoffImpossible):
        return str(reason)
    text = str(reason)
    if "compatibility" in text or "mismatch" in text:
        return unfit(" ".join(text.split(". ")[:2]))
    return transport_failed(ucx_said or text or "the transfer failed")


@contextlib.contextmanager
def paced_progress_thread() -> Iterator[None]:
    """Let NIXL agents created within sleep between two looks at the network.

    NIXL's Python binding writes 0 into its configuration and offers no parameter, hence the stand-in class.
    """
    from nixl import _bindings

    stock = _bindings.nixlAgentConfig

    class PacedConfig(stock):  # type: ignore[misc, valid-type]
        """An agent's configuration whose progress delay is ours."""

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, PROGRESS_INTERVAL_US if name == "pthrDelay" else value)

    _bindings.nixlAgentConfig = PacedConfig
    try:
        yield
    finally:
        _bindings.nixlAgentConfig = stock
