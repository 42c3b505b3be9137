"""Asking a process whether it serves."""

from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc


async def is_serving(channel: grpc.aio.Channel, timeout_s: float) -> bool:
    """What the process at the other end says of itself; raises `AioRpcError` when it says nothing."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
