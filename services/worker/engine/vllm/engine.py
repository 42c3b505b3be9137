"""The engine: takes jobs, runs the loop over vLLM's steps, reports to the sink."""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Any

from services.common.domain import (
    Capacity,
    EmbeddingAsk,
    EmbeddingModel,
    FailureKind,
    Fingerprint,
    Job,
    JobFailed,
    JobKind,
    KvChange,
    LoadReport,
    Role,
    Sampling,
    StepOutput,
)
from services.common.domain.tokens import tokens
from services.common.errors import EngineUnhealthy
from services.worker.engine.interface import LOOPBACK, EngineSink
from services.worker.engine.vllm import core as vllm_core
from services.worker.engine.vllm import kv_events, pooling
from services.worker.engine.vllm.adapters import Adapter
from services.worker.engine.vllm.arguments import EngineArguments
from services.worker.engine.vllm.complaints import in_short
from services.worker.engine.vllm.counters import Counters
from services.worker.engine.vllm.fingerprint import capacity, fingerprint
from services.worker.engine.vllm.jobs import BadTicket, LiveJob, RequestBuilder, why_expired
from services.worker.engine.vllm.load import LoadMeter
from services.worker.engine.vllm.outputs import Offers, Translator
from services.worker.engine.vllm.probe import Probe

CHECK_TOKENS = 4
CHECK_TIMEOUT_S = 30.0
CLOSE_GRACE_S = 5.0
GIVE_UP_POLL_S = 0.1


class VllmEngine:
    """`Engine` over vLLM. One engine process; this side only moves requests and token ids."""

    def __init__(
        self,
        model: str,
        served_model_name: str,
        role: Role,
        arguments: EngineArguments,
        *,
        cores: str = "",
        side_channel_port: int = 0,
        worker_id: str = "",
        adapters: Mapping[str, Adapter] | None = None,
    ) -> None:
        self._plan = vllm_core.Plan(
            *(model, served_model_name, role, arguments, cores),
            *(side_channel_port, worker_id, adapters or {}),
        )
        self._core: vllm_core.Core | None = None
        self._runner: asyncio.Task[None] | None = None
        self._live: dict[str, LiveJob] = {}
        self._offers = Offers()
        self._counters = Counters()
        self._refused: dict[int, JobFailed] = {}
        self._probes: dict[str, Probe] = {}
        self._probe_numbers = itertools.count()
        self._commands: deque[tuple[str, Any]] = deque()
        self._to_release: set[str] = set()
        self._command_ready = asyncio.Event()
        self._release_ready = asyncio.Event()
        self._dead = ""

    @property
    def fingerprint(self) -> Fingerprint:
        """What must agree with a handoff's other side; valid after `start`."""
        return self._fingerprint

    @property
    def capacity(self) -> Capacity:
        """What the engine can hold; valid after `start`."""
        return self._capacity

    @property
    def role_is_fixed(self) -> bool:
        """Whether the connector was started for one direction only; valid after `start`."""
        return self._role_is_fixed

    @property
    def can_replay(self) -> bool:
        """Whether what tells output from prompt can go on after delivered tokens; valid after `start`."""
        return self._can_replay

    @property
    def adapters(self) -> dict[str, str]:
        """LoRA adapters that jobs may name, with their digests."""
        return {name: adapter.digest for name, adapter in self._plan.adapters.items()}

    @property
    def limits_thinking(self) -> bool:
        """Whether vLLM was told how the model's reasoning begins and ends; valid after `start`."""
        return self._limits_thinking

    @property
    def vocabulary_size(self) -> int:
        """Token ids that the model can read lie below it; valid after `start`."""
        return self._vocabulary_size

    @property
    def embedding_model(self) -> EmbeddingModel | None:
        """Of a model that gives vectors instead of text; valid after `start`."""
        return self._embedding_model

    def stats(self) -> dict[str, float]:
        """Running totals: prompt tokens by source, what NIXL moved and failed to move, expired handoffs."""
        return dict(self._counters.totals)

    @property
    def process_ids(self) -> list[int]:
        """vLLM's own processes on this host; empty before `start` and after `close`."""
        return [] if self._core is None else [p.pid for p in vllm_core.processes(self._core) if p.pid]

    @property
    def handoff_address(self) -> str:
        """Where decode workers ask for memory registrations; valid after `start`."""
        core = self._core
        return "" if core is None or core.config.kv_transfer_config is None else core.side_channel

    async def start(self, sink: EngineSink, handoff_host: str = LOOPBACK) -> None:
        """Load the model; raises a `Startup` error with one clear line."""
        self._sink = sink
        loop = asyncio.get_running_loop()
        others = vllm_core.children()
        with ThreadPoolExecutor(1, "vllm-start") as thread:
            starting = loop.run_in_executor(thread, vllm_core.start, self._plan, handoff_host)
            try:
                self._core = await asyncio.shield(starting)
            except asyncio.CancelledError:
                await self._give_up(starting, others)
                raise
        config = self._core.config
        block_size_bytes = await vllm_core.kv_block_size_bytes(self._core)
        self._fingerprint = fingerprint(config, self._plan.served_model_name, self._core.on_cpu)
        self._capacity = capacity(config, block_size_bytes)
        self._embedding_model = await pooling.embedding_model(self._core)
        handoffs = config.kv_transfer_config
        self._role_is_fixed = handoffs is None or bool(handoffs.kv_role != "kv_both")
        self._can_replay = vllm_core.can_replay(config)
        self._vocabulary_size = vllm_core.vocabulary_size(self._core)
        self._limits_thinking = bool(config.reasoning_config and config.reasoning_config.enabled)
        await vllm_core.spare_output_tokens(self._core)
        await vllm_core.load_adapters(self._core, self._plan.adapters.values())
        self._builder = RequestBuilder(
            self._core.inputs,
            config.cache_config.block_size,
            config.model_config.max_model_len,
            self._can_replay,
            self._plan.adapters,
            self.vocabulary_size,
            self._embedding_model,
        )
        self._load = LoadMeter(self._capacity.kv_blocks)
        self._translator = Translator(
            live=self._live,
            offers=self._offers,
            counters=self._counters,
            engine_id="" if handoffs is None else handoffs.engine_id,
            kv_block_size_bytes=self._capacity.kv_block_size_bytes,
            lease_ms=self._plan.arguments.handoff_lease_ms,
            drop_offer=self._release_request,
            abort=lambda request_id: self._command("abort", [request_id]),
        )
        self._runner = asyncio.create_task(self._run(self._core), name="vllm-engine")

    async def _give_up(self, starting: "asyncio.Future[vllm_core.Core]", others: "set[BaseProcess]") -> None:
        """Wait for a start that nobody wants any more: loading can be stopped only by killing who loads."""
        while not starting.done():
            for process in vllm_core.children() - others:
                process.kill()
            await asyncio.wait((starting,), timeout=GIVE_UP_POLL_S)
        if starting.exception() is None:  # it was just there; `close` ends it
            self._core = starting.result()

    def submit(self, job: Job) -> None:
        """Queue a job; a bad one is reported as failed."""
        request_id = str(job.stream)
        if self._dead:
            self._refuse(job, FailureKind.ENGINE, self._dead)
            return
        if request_id in self._live or request_id in self._offers.handoff_of:
            # vLLM's engine process would die of it.
            self._refuse(job, FailureKind.INVALID, f"stream {job.stream} is in use")
            return
        try:
            live, request = self._builder.build(job, request_id)
        except BadTicket as error:
            self._refuse(job, FailureKind.HANDOFF, str(error))
        except Exception as error:  # what vLLM raises for one job is that job's alone
            message = in_short(str(error)) or type(error).__name__
            self._refuse(job, FailureKind.INVALID, message, getattr(error, "field", ""))
        else:
            self._live[request_id] = live
            self._watch_ticket(live)
            self._command("add", request)

    def abort(self, streams: Iterable[int]) -> None:
        """End jobs and free all they hold within one step. Unknown streams are ignored."""
        gone = []
        for stream in streams:
            self._refused.pop(stream, None)
            live = self._live.pop(str(stream), None)
            if live is not None:
                live.settle()
                gone.append(live.request_id)
        if gone:
            self._command("abort", gone)

    def release(self, handoff_ids: Iterable[str]) -> None:
        """Free offered KV that nobody will adopt. Unknown ids are ignored; idempotent."""
        for handoff_id in handoff_ids:
            request_id = self._offers.request_of.get(handoff_id)
            if request_id is not None:
                self._release_request(request_id)

    def load(self) -> LoadReport:
        """What the engine holds at the moment; cheap."""
        return self._load.report(self._live.values())

    async def check(self) -> None:
        """Really generate a few tokens greedily, or make a vector; raises `EngineUnhealthy`."""
        if self._dead:
            raise EngineUnhealthy(self._dead)
        request_id = f"check-{next(self._probe_numbers)}"
        model, prompt = self._embedding_model, tokens(range(1, 9))
        sampling = Sampling(max_tokens=CHECK_TOKENS, temperature=0.0, ignore_eos=True)
        job = Job(0, JobKind.LOCAL, request_id, prompt, sampling)
        if model is not None:
            job = Job(0, JobKind.EMBED, request_id, prompt, sampling, embedding=EmbeddingAsk())
        _, request = self._builder.build(job, request_id)
        probe = self._probes[request_id] = Probe(asyncio.get_running_loop().create_future())
        self._command("add", request)
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                made = await probe.done
        except TimeoutError:
            self._command("abort", [request_id])
            raise EngineUnhealthy(f"vLLM made nothing in {CHECK_TIMEOUT_S:.0f} s") from None
        finally:
            del self._probes[request_id]
        wanted = CHECK_TOKENS if model is None else model.dimensions
        if made != wanted:
            raise EngineUnhealthy(f"vLLM made {made} tokens or numbers instead of {wanted}")

    async def close(self) -> None:
        """Stop the engine process and free everything; idempotent."""
        if self._runner is not None:
            self._runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._runner
            self._runner = None
        if self._core is not None:
            core, self._core = self._core, None
            await asyncio.to_thread(vllm_core.stop, core, CLOSE_GRACE_S)
            # vLLM closes its sockets in a callback on this loop, and leaves their context open.
            await asyncio.sleep(0)
            core.client.resources.ctx.destroy(linger=0)
        for live in self._live.values():
            live.settle()
        self._live.clear()

    async def _run(self, core: vllm_core.Core) -> None:
        """Own the engine's loops; whichever fails, the engine is of no more use."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read_steps(core.client))
                group.create_task(self._watch_process(core))
                group.create_task(self._send_commands(core.client))
                group.create_task(self._send_releases(core.client))
                group.create_task(kv_events.follow(core.kv_events_endpoint, self._on_kv_changes))
        except* Exception as errors:  # whichever it is, the worker learns of it and leaves
            self._die(errors.exceptions[0])

    async def _read_steps(self, client: Any) -> None:
        while True:
            outputs = await client.get_output_async()
            self._load.on_step(outputs)
            if self._probes:
                self._feed_probes(outputs.outputs)
            step = self._translator.translate(outputs)
            if step != StepOutput():
                self._sink.on_step(step)

    async def _watch_process(self, core: vllm_core.Core) -> None:
        await vllm_core.until_gone(core)
        raise EngineUnhealthy("vLLM's engine process has ended")

    async def _send_commands(self, client: Any) -> None:
        while True:
            await self._command_ready.wait()
            self._command_ready.clear()
            while self._commands:
                verb, what = self._commands.popleft()
                await (client.add_request_async if verb == "add" else client.abort_requests_async)(what)

    async def _send_releases(self, client: Any) -> None:
        while True:
            await self._release_ready.wait()
            self._release_ready.clear()
            request_ids = sorted(self._to_release)
            self._to_release.clear()
            await client.collective_rpc_async("mesh_release", args=(request_ids,))

    def _command(self, verb: str, what: Any) -> None:
        self._commands.append((verb, what))
        self._command_ready.set()

    def _release_request(self, request_id: str) -> None:
        self._to_release.add(request_id)
        self._release_ready.set()

    def _refuse(self, job: Job, kind: FailureKind, message: str, field: str = "") -> None:
        """Report a failure soon, not from within `submit`."""
        self._refused[job.stream] = JobFailed(job.stream, kind, message, field)
        asyncio.get_running_loop().call_soon(self._report_refused)

    def _report_refused(self) -> None:
        if self._refused:
            failed = list(self._refused.values())
            self._refused.clear()
            self._sink.on_step(StepOutput(failed=failed))

    def _watch_ticket(self, live: LiveJob) -> None:
        if live.job.handoff is not None and live.job.kind is JobKind.ADOPT:
            delay_s = live.job.handoff.expires_in_ms / 1_000
            live.expiry = asyncio.get_running_loop().call_later(delay_s, self._on_ticket_expired, live)

    def _on_ticket_expired(self, live: LiveJob) -> None:
        """Give a pull that has begun its margin; end the job otherwise, since the blocks may be reused."""
        if live.pulling:
            live.pulling = False
            delay_s = self._plan.arguments.handoff_margin_ms / 1_000
            live.expiry = asyncio.get_running_loop().call_later(delay_s, self._on_ticket_expired, live)
            return
        self.abort([live.job.stream])
        failed = JobFailed(live.job.stream, FailureKind.HANDOFF, why_expired(live))
        self._sink.on_step(StepOutput(failed=[failed]))

    def _on_kv_changes(self, changes: list[KvChange]) -> None:
        self._sink.on_step(StepOutput(kv_changes=changes))

    def _feed_probes(self, outputs: Iterable[Any]) -> None:
        for output in outputs:
            probe = self._probes.get(output.request_id)
            if probe is not None:
                probe.feed(output)

    def _die(self, error: BaseException) -> None:
        self._dead = f"vLLM's engine is gone: {error or type(error).__name__}"
        for live in self._live.values():
            live.settle()
        self._live.clear()
        for probe in self._probes.values():
            probe.fail(EngineUnhealthy(self._dead))
        self._sink.on_engine_dead(self._dead)
