"""How long a server may take to greet a new connection: its host may be busy, or far away."""

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pdmesh.client.channels import channel_options
from services.common.rpc import RpcServer, open_channel

LATE_S = 0.4


@pytest.fixture
async def late_server() -> AsyncIterator[str]:
    """HOST:PORT of a server behind a proxy that passes nothing on for a while."""
    server = RpcServer(())
    port = await server.start("127.0.0.1", 0)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(LATE_S)
        reader_there, writer_there = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_pump(reader, writer_there))
            tasks.create_task(_pump(reader_there, writer))

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as proxy:
        yield f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        await server.stop(grace_ms=0)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


@pytest.mark.parametrize(
    "opened",
    [open_channel, lambda address: grpc.aio.insecure_channel(address, options=channel_options())],
    ids=["mesh", "client"],
)
async def test_a_server_that_greets_late_is_waited_for(
    late_server: str, opened: Callable[[str], grpc.aio.Channel]
) -> None:
    async with opened(late_server) as channel:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
