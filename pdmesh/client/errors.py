"""Failed calls as the mesh's errors."""

from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.common.errors import (
    BodyTooLarge,
    Cancelled,
    Code,
    DeadlinePassed,
    Internal,
    Invalid,
    MeshError,
    Refused,
    TooManyConnections,
    by_reason,
)

DOMAIN = "pdmesh"
FULL = "Concurrent RPC limit"
"""How a server of gRPC begins to say that it has too many calls; its other exhaustion is a message's size."""
_UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL)


class Unreachable(Refused):
    """No gateway answers, or the connection broke."""

    reason = "unreachable"
    code = Code.UNAVAILABLE


def error_of(failure: Any) -> MeshError:
    """The error that a call ended with; one without the mesh's own details follows from its code.

    `failure` is the `grpc.RpcError` of a synchronous or asynchronous call.
    """
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    status = rpc_status.from_call(failure)
    for detail in status.details if status is not None else ():
        detail.Unpack(info)
        detail.Unpack(retry)
    message = failure.details() or ""
    if info.domain != DOMAIN:
        return _bare(failure.code(), message)
    wait_ms = retry.retry_delay.ToMilliseconds()
    kind = by_reason(info.reason)
    return kind(message, field=info.metadata.get("field", ""), retry_after_ms=wait_ms or None)


def _bare(code: grpc.StatusCode, message: str) -> MeshError:
    """The error of a status that gRPC itself made."""
    if code in _UNREACHABLE:
        return Unreachable(f"no gateway answers: {message}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlinePassed(message)
    if code is grpc.StatusCode.CANCELLED:
        return Cancelled(message)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        is_full = message.startswith(FULL)
        return TooManyConnections(message) if is_full else BodyTooLarge(message)
    kind = Internal if code is grpc.StatusCode.DATA_LOSS else Invalid
    return kind(f"{code.name}: {message}")
