"""The configured RetrieverService."""

from typing import Any

import grpc.aio

from pdmesh.retrieval.v1 import retriever_pb2 as wire
from pdmesh.retrieval.v1 import retriever_pb2_grpc
from services.common.credentials import Security
from services.common.rpc import open_channel
from services.gateway.retrieval.report import Passage

_STATUSES = {grpc.StatusCode.DEADLINE_EXCEEDED: "timeout", grpc.StatusCode.UNAVAILABLE: "unavailable"}


class LookUpFailed(Exception):
    """No passages could be had; the text is the report's status."""

    def __init__(self, status: str, *, is_away: bool) -> None:
        """`is_away`: there was no answer, or none in time; otherwise this one was refused."""
        super().__init__(status)
        self.is_away = is_away


class RetrieverClient:
    """Asks one retriever."""

    def __init__(self, address: str, timeout_ms: float, security: Security) -> None:
        self._timeout_s = timeout_ms / 1000.0
        self._security = security
        self._channel = open_channel(address, security=security)
        self._stub: Any = retriever_pb2_grpc.RetrieverServiceStub(self._channel)

    async def look_up(self, tenant: str, collection: str, query: str, passages_max: int) -> list[Passage]:
        """The passages that fit best, best first; raises `LookUpFailed`."""
        request = wire.RetrieveRequest(
            tenant=tenant, collection=collection, query=query, passages_max=passages_max
        )
        try:
            answer = await self._stub.Retrieve(
                request, timeout=self._timeout_s, metadata=self._security.metadata
            )
        except grpc.aio.AioRpcError as failure:
            code = failure.code()
            raise LookUpFailed(_STATUSES.get(code, "failed"), is_away=code in _STATUSES) from failure
        return [Passage(one.id, one.text, one.source, one.score) for one in answer.passages[:passages_max]]

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()
