"""The servicer for operators: translates orders into events, and state into answers."""

import contextlib
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any, TypeAlias

import grpc.aio

from pdmesh.operator.v1 import operator_pb2, operator_pb2_grpc
from services.common.clock import Clock
from services.common.domain import Request, Role, Sampling
from services.common.domain.tokens import from_bytes
from services.common.errors import InvalidField, MeshError, TooManyConnections
from services.common.limits import Limits
from services.common.rpc import abort_with
from services.common.rpc.convert import wire_enum
from services.router.board import Board
from services.router.core.events import (
    Activate,
    Drain,
    FleetOrder,
    Forgive,
    SetLocalThreshold,
    SetRole,
    StandBy,
    Undrain,
)
from services.router.core.explain import Explanation
from services.router.core.pairs import Pair
from services.router.fleet_view import TierView, WorkerView, breaker_state, view_of
from services.router.notes import RouterNote
from services.router.scaling import describe, watch
from services.router.shell import Shell
from services.router.verdict import Finding, findings

PAIRS_DESCRIBED_MAX = 10_000
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class OperatorServicer(operator_pb2_grpc.OperatorServiceServicer):
    """`pdmesh.operator.v1.OperatorService`."""

    def __init__(self, shell: Shell, router_id: str, clock: Clock, limits: Limits, board: Board) -> None:
        self._shell, self._router_id, self._clock, self._limits = shell, router_id, clock, limits
        self._board = board

    async def DescribeFleet(  # noqa: N802 - the names are the protocol's
        self, _request: operator_pb2.DescribeFleetRequest, _context: Context
    ) -> operator_pb2.DescribeFleetResponse:
        """The fleet as this router sees it, and what is wrong with it."""
        core, now_ms = self._shell.core, self._clock.now_ms()
        away, given_up = self._board.is_away, self._shell.given_up.current()
        view = view_of(core.state, core.scaling, now_ms, store_is_away=away, given_up=given_up)
        return operator_pb2.DescribeFleetResponse(
            router_id=self._router_id,
            workers=[_worker_status(worker) for worker in view.workers],
            tiers=[_tier_status(tier) for model in view.models for tier in model.tiers],
            stranded_block_seconds=view.handoffs.stranded_block_seconds,
            open_handoffs=view.handoffs.open,
            open_requests=view.open_requests,
            quarantined_prompts=view.quarantined_prompts,
            expired_handoffs=view.handoffs.expired,
            unreleased_handoffs=view.handoffs.unreleased,
            routers=[_router_status(note) for note in self._board.notes()],
            findings=[_finding(finding) for finding in findings(view)],
            outcomes=[
                operator_pb2.ModelOutcomes(model=model.model, requests=model.outcomes)
                for model in view.models
            ],
        )

    async def DescribePairs(  # noqa: N802
        self, _request: operator_pb2.DescribePairsRequest, _context: Context
    ) -> operator_pb2.DescribePairsResponse:
        """Every prefill worker with every decode worker of its model, up to a bound."""
        state, now_ms = self._shell.core.state, self._clock.now_ms()
        pairs = (
            _pair_status(state.pairs.peek(prefill, decode), now_ms)
            for pool in state.fleet.pools.values()
            for prefill in pool.workers.values()
            for decode in pool.workers.values()
            if prefill is not decode and prefill.role.can_prefill_for_others() and decode.role.can_decode()
        )
        return operator_pb2.DescribePairsResponse(pairs=islice(pairs, PAIRS_DESCRIBED_MAX))

    async def Drain(  # noqa: N802
        self, request: operator_pb2.DrainRequest, context: Context
    ) -> operator_pb2.DrainResponse:
        """Give a worker no new work."""
        await self._order(Drain(request.worker_id), context)
        return operator_pb2.DrainResponse()

    async def Undrain(  # noqa: N802
        self, request: operator_pb2.UndrainRequest, context: Context
    ) -> operator_pb2.UndrainResponse:
        """Give it work again."""
        await self._order(Undrain(request.worker_id), context)
        return operator_pb2.UndrainResponse()

    async def SetRole(  # noqa: N802
        self, request: operator_pb2.SetRoleRequest, context: Context
    ) -> operator_pb2.SetRoleResponse:
        """Drain it, then change its role."""
        try:
            role = Role(request.role)
        except ValueError:
            await abort_with(context, InvalidField("a role is prefill, decode or both", field="role"))
        await self._order(SetRole(request.worker_id, role), context)
        return operator_pb2.SetRoleResponse()

    async def StandBy(  # noqa: N802
        self, request: operator_pb2.StandByRequest, context: Context
    ) -> operator_pb2.StandByResponse:
        """Keep it loaded, without work."""
        await self._order(StandBy(request.worker_id), context)
        return operator_pb2.StandByResponse()

    async def Activate(  # noqa: N802
        self, request: operator_pb2.ActivateRequest, context: Context
    ) -> operator_pb2.ActivateResponse:
        """Give a standby worker work."""
        await self._order(Activate(request.worker_id), context)
        return operator_pb2.ActivateResponse()

    async def SetLocalThreshold(  # noqa: N802
        self, request: operator_pb2.SetLocalThresholdRequest, context: Context
    ) -> operator_pb2.SetLocalThresholdResponse:
        """Set the length up to which prompts take the local path."""
        await self._order(SetLocalThreshold(request.local_prompt_tokens_max), context)
        return operator_pb2.SetLocalThresholdResponse()

    async def Forgive(  # noqa: N802
        self, _request: operator_pb2.ForgiveRequest, context: Context
    ) -> operator_pb2.ForgiveResponse:
        """Forget quarantined prompts and close every breaker."""
        state, now_ms = self._shell.core.state, self._clock.now_ms()
        suspended = sum(1 for pair in state.pairs if pair.breaker.is_open(now_ms))
        answer = operator_pb2.ForgiveResponse(prompts=len(state.quarantine), pairs=suspended)
        await self._order(Forgive(), context)
        return answer

    async def NoteGivenUp(  # noqa: N802
        self, request: operator_pb2.NoteGivenUpRequest, _context: Context
    ) -> operator_pb2.NoteGivenUpResponse:
        """Show that a process dies again and again."""
        self._shell.given_up.note(request.process, request.why)
        return operator_pb2.NoteGivenUpResponse()

    async def DryRun(  # noqa: N802
        self, request: operator_pb2.DryRunRequest, context: Context
    ) -> operator_pb2.DryRunResponse:
        """Where a request would go now."""
        try:
            prompt = from_bytes(request.prompt_token_ids)
        except ValueError as failure:
            await abort_with(context, InvalidField(str(failure), field="prompt_token_ids"))
        sampling = Sampling(max_tokens=request.max_tokens or 1)
        asked = Request("dry-run", request.model, prompt, sampling, tenant=request.tenant)
        return _dry_run(self._shell.core.explain(asked, self._clock.now_ms()))

    async def DescribeScaling(  # noqa: N802
        self, _request: operator_pb2.DescribeScalingRequest, _context: Context
    ) -> operator_pb2.DescribeScalingResponse:
        """How many workers each tier should have, and why."""
        return describe(self._shell.core.scaling, self._router_id, self._clock.now_ms())

    async def WatchScaling(  # noqa: N802
        self, _request: operator_pb2.WatchScalingRequest, context: Context
    ) -> AsyncIterator[operator_pb2.WatchScalingResponse]:
        """The same for who starts and ends workers, told at each change."""
        if len(self._shell.core.scaling.drivers) >= self._limits.scaling_watches_max:
            await abort_with(context, TooManyConnections(retry_after_ms=1_000))
        async with contextlib.aclosing(watch(self._shell, self._clock)) as told:
            async for news in told:
                yield news

    async def _order(self, order: FleetOrder, context: Context) -> None:
        try:
            self._shell.feed(order)
        except MeshError as error:
            await abort_with(context, error)


def _finding(finding: Finding) -> operator_pb2.Finding:
    return operator_pb2.Finding(
        kind=finding.kind,
        severity=wire_enum(finding.severity),
        model=finding.model,
        text=finding.text,
        remedy=finding.remedy,
    )


def _worker_status(worker: WorkerView) -> operator_pb2.WorkerStatus:
    return operator_pb2.WorkerStatus(
        worker_id=worker.worker_id,
        model=worker.model,
        role=wire_enum(worker.role),
        state=worker.state,
        running_requests=worker.running_requests,
        kv_blocks_total=worker.kv_blocks,
        kv_blocks_reserved=worker.kv_blocks_taken,
        queued_prefill_tokens=worker.prefill_tokens,
        step_ms=worker.step_ms,
        address=worker.address,
        embedding_dimensions=worker.embedding_dimensions,
    )


def _router_status(note: RouterNote) -> operator_pb2.RouterStatus:
    queues = [
        operator_pb2.RouterQueue(
            **{name: getattr(queue, name) for name in _QUEUE}, role=wire_enum(queue.role)
        )
        for queue in note.queues
    ]
    return operator_pb2.RouterStatus(
        router_id=note.router_id, open_requests=note.open_requests, queues=queues
    )


_QUEUE = ("model", "requests", "tokens", "oldest_wait_ms", "wait_ms_max")


def _tier_status(tier: TierView) -> operator_pb2.TierStatus:
    return operator_pb2.TierStatus(
        model=tier.model,
        role=wire_enum(tier.role),
        queued_requests=tier.queued_requests,
        queued_tokens=tier.queued_tokens,
        desired_workers=tier.desired_workers,
        desired_spares=tier.desired_spares,
        serving_workers=len(tier.serving),
        oldest_wait_ms=tier.oldest_wait_ms,
        engine_tokens=tier.engine_tokens,
        tokens_per_s=tier.tokens_per_s,
        prefill_wait_ms=tier.prefill_wait_ms,
    )


def _pair_status(pair: Pair, now_ms: float) -> operator_pb2.PairStatus:
    prefill, decode = pair.prefill.registration, pair.decode.registration
    age_s = -1.0 if pair.canary_at_ms is None else (now_ms - pair.canary_at_ms) / 1000.0
    return operator_pb2.PairStatus(
        prefill_worker=prefill.worker_id,
        decode_worker=decode.worker_id,
        differences=prefill.fingerprint.differences(decode.fingerprint),
        connector=prefill.fingerprint.connector,
        handoffs=pair.handoffs,
        failures=pair.failures,
        handoff_ms=pair.handoff_ms.value,
        transfer_gb_per_s=pair.transfer_gb_per_s.value,
        transfer_ms=pair.transfer_ms.value,
        transport=pair.transport,
        handoff_address=prefill.handoff_address,
        refusal=pair.refusal,
        failure=pair.failure,
        canary=pair.canary.name.lower(),
        canary_age_s=age_s,
        breaker=breaker_state(pair.breaker, now_ms),
    )


def _dry_run(explanation: Explanation) -> operator_pb2.DryRunResponse:
    choice, refusal = explanation.choice, explanation.refusal
    return operator_pb2.DryRunResponse(
        refusal_reason=refusal.reason if refusal is not None else "",
        path=wire_enum(choice.path if choice is not None else 0),
        path_reason=choice.reason if choice is not None else "",
        decode_worker=explanation.decode_worker,
        prefill_worker=explanation.prefill_worker,
        waits_for=explanation.waits_for,
    )
