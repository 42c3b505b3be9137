"""The router's OperatorService as the commands use it."""

from collections.abc import AsyncGenerator, Awaitable
from typing import Protocol, TypeVar

import grpc.aio
from google.protobuf.message import Message

from pdmesh.operator.v1 import operator_pb2 as wire
from pdmesh.operator.v1 import operator_pb2_grpc
from services.common.credentials import OPEN, Security
from services.common.errors import RouterUnavailable
from services.common.rpc import error_from_rpc, open_channel
from services.common.rpc.health import is_serving

Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)
Order = (
    wire.DrainRequest
    | wire.UndrainRequest
    | wire.StandByRequest
    | wire.ActivateRequest
    | wire.SetRoleRequest
    | wire.SetLocalThresholdRequest
)


class Method(Protocol[Answer_co]):
    """One RPC of a stub."""

    def __call__(
        self, request: Message, *, timeout: float, metadata: tuple[tuple[str, str], ...]
    ) -> Awaitable[Answer_co]:
        """Call it."""


class OperatorClient:
    """One router. Methods raise its refusals, and `RouterUnavailable` when none answers."""

    def __init__(self, address: str, timeout_ms: int, security: Security = OPEN) -> None:
        self.address = address
        self._timeout_s = timeout_ms / 1e3
        self._metadata = security.metadata
        self._channel = open_channel(address, security=security)
        self._stub = operator_pb2_grpc.OperatorServiceStub(self._channel)
        stub = self._stub
        self._orders: dict[type[Message], Method[Message]] = {
            wire.DrainRequest: stub.Drain,
            wire.UndrainRequest: stub.Undrain,
            wire.StandByRequest: stub.StandBy,
            wire.ActivateRequest: stub.Activate,
            wire.SetRoleRequest: stub.SetRole,
            wire.SetLocalThresholdRequest: stub.SetLocalThreshold,
        }

    async def __aenter__(self) -> "OperatorClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def is_serving(self) -> bool:
        """Whether the router says that it serves, rather than starts or drains."""
        return await self._answer(is_serving(self._channel, self._timeout_s))

    async def fleet(self) -> wire.DescribeFleetResponse:
        """Workers, tiers, handoffs."""
        return await self._call(self._stub.DescribeFleet, wire.DescribeFleetRequest())

    async def pairs(self) -> wire.DescribePairsResponse:
        """Every prefill worker with every decode worker of its model."""
        return await self._call(self._stub.DescribePairs, wire.DescribePairsRequest())

    async def scaling(self) -> wire.DescribeScalingResponse:
        """How many workers each tier should have, and why."""
        return await self._call(self._stub.DescribeScaling, wire.DescribeScalingRequest())

    async def watch_scaling(self) -> AsyncGenerator[wire.WatchScalingResponse, None]:
        """The same for who starts and ends workers by it: at once and at each change."""
        call = self._stub.WatchScaling(wire.WatchScalingRequest(), metadata=self._metadata)
        try:
            async for news in call:
                yield news
        except grpc.aio.AioRpcError as failure:
            raise error_from_rpc(failure) from None
        finally:
            call.cancel()

    async def order(self, order: Order) -> None:
        """Have something done that has no answer."""
        await self._call(self._orders[type(order)], order)

    async def dry_run(self, request: wire.DryRunRequest) -> wire.DryRunResponse:
        """Where a request would go."""
        return await self._call(self._stub.DryRun, request)

    async def forgive(self) -> wire.ForgiveResponse:
        """Forget what was held against prompts, workers and pairs."""
        return await self._call(self._stub.Forgive, wire.ForgiveRequest())

    async def note_given_up(self, name: str, why: str) -> None:
        """Say that a process dies again and again."""
        await self._call(self._stub.NoteGivenUp, wire.NoteGivenUpRequest(process=name, why=why))

    async def _call(self, method: Method[Answer], request: Message) -> Answer:
        return await self._answer(method(request, timeout=self._timeout_s, metadata=self._metadata))

    async def _answer(self, call: Awaitable[Answer]) -> Answer:
        try:
            return await call
        except grpc.aio.AioRpcError as failure:
            error = error_from_rpc(failure)
            if isinstance(error, RouterUnavailable):
                raise RouterUnavailable(f"no router answers at {self.address}{_why(failure)}") from None
            raise error from None


def _why(failure: grpc.aio.AioRpcError) -> str:
    """What gRPC says of an address where something else listens; a closed port is told by its address."""
    code = failure.code()
    return "" if code is grpc.StatusCode.UNAVAILABLE else f" ({code.name.lower().replace('_', ' ')})"
