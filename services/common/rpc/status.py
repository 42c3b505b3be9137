"""The error tree as gRPC statuses and back: `ErrorInfo` carries the reason, `RetryInfo` the wait."""

import asyncio
import contextlib
from typing import NoReturn

import grpc
import grpc.aio
from google.protobuf import any_pb2, message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.common.errors import MeshError, RouterUnavailable, by_reason

DOMAIN = "pdmesh"
ABORT_S_MAX = 1.0


def status_of(error: MeshError) -> status_pb2.Status:
    """The `google.rpc.Status` of an error."""
    metadata = {"field": error.field} if error.field else {}
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    details = [_packed(info)]
    if error.retry_after_ms is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(error.retry_after_ms)
        details.append(_packed(retry))
    return status_pb2.Status(code=int(error.code), message=error.message, details=details)


def _packed(detail: message.Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


async def abort_with(context: grpc.aio.ServicerContext, error: MeshError) -> NoReturn:
    """End a call with an error's status; does not return. It must not be sending its head, see `send_head`.

    A peer that does not read is not waited for; it gets the status if it ever takes what comes before it.
    """
    status = rpc_status.to_status(status_of(error))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ABORT_S_MAX):
            await context.abort(status.code, status.details, status.trailing_metadata)
    raise asyncio.CancelledError(error.message) from error


def error_from_rpc(failure: grpc.aio.AioRpcError) -> MeshError:
    """The error that a call ended with; a status without our ErrorInfo means the peer is out of reach."""
    status = rpc_status.from_call(failure)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details if status is not None else ():
        detail.Unpack(info)
        detail.Unpack(retry)
    if info.domain != DOMAIN:
        return RouterUnavailable(f"{failure.code().name}: {failure.details()}", retry_after_ms=1_000)
    wait_ms = retry.retry_delay.ToMilliseconds()
    return by_reason(info.reason)(
        failure.details() or "", field=info.metadata.get("field", ""), retry_after_ms=wait_ms or None
    )
