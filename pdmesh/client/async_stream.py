"""A streamed answer, for asyncio."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any

import grpc.aio

from pdmesh.client.answer import Answer, Choice, Delta
from pdmesh.client.channels import Channels
from pdmesh.client.course import Course, Request
from pdmesh.client.errors import error_of
from pdmesh.client.retry import calls_for_another_gateway
from services.common.errors import Cancelled, MeshError

Open = Callable[[grpc.aio.Channel, Request, float | None], Any]
"""Starts an attempt on a channel, with a timeout in seconds; returns gRPC's call."""


class AsyncStream(AsyncIterator[Delta]):
    """Iterates over an answer's deltas; `answer` is the whole of it afterwards.

    async with mesh.chat("demo", "Hello") as stream:
        async for delta in stream:
            print(delta.text, end="")
    print(stream.answer.usage)

    Leaving the block, `close`, and cancelling the task that reads, all cancel what is not there yet.
    Iterating raises `MeshError`.
    """

    def __init__(self, course: Course, channels: Channels[grpc.aio.Channel], open_call: Open) -> None:
        self._course = course
        self._channels = channels
        self._open_call = open_call
        self._call: Any = None
        self._waiting: deque[Delta] = deque()
        self._is_closed = False

    @property
    def choices(self) -> list[Choice]:
        """What has come so far."""
        return self._course.choices

    @property
    def answer(self) -> Answer:
        """The whole answer; raises RuntimeError while the stream has not ended."""
        return self._course.answer

    async def whole(self) -> Answer:
        """Read to the end; raises `MeshError`."""
        async with self:
            async for _ in self:
                pass
        return self.answer

    def close(self) -> None:
        """Tell the mesh that nobody wants the rest."""
        self._is_closed = True
        if self._call is not None:
            self._call.cancel()

    async def __aenter__(self) -> "AsyncStream":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __anext__(self) -> Delta:
        while not self._waiting:
            if self._course.is_over:
                self.close()
                raise StopAsyncIteration
            await self._read()
        return self._waiting.popleft()

    async def _read(self) -> None:
        """Take one message in, or get over one failure."""
        channel = self._channels.current
        try:
            if self._is_closed:
                raise Cancelled("the stream was closed")
            if self._call is None:
                timeout_s = self._course.retrier.time_left_s()
                self._call = self._open_call(channel, self._course.request(), timeout_s)
            response = await self._call.read()
            if response is not grpc.aio.EOF:
                self._waiting.extend(self._course.take(response))
                return
            await self._go_on_after(None, channel)
        except grpc.aio.AioRpcError as failure:
            await self._go_on_after(error_of(failure), channel)
        except asyncio.CancelledError:
            if self._is_closed_by_itself():
                raise Cancelled("the stream was closed") from None
            self.close()
            raise

    def _is_closed_by_itself(self) -> bool:
        """Reading a call that was cancelled raises CancelledError too; a cancelled task must hear its own."""
        task = asyncio.current_task()
        return self._is_closed and (task is None or not task.cancelling())

    async def _go_on_after(self, error: MeshError | None, channel: grpc.aio.Channel) -> None:
        self._call = None
        if self._is_closed:
            raise Cancelled("the stream was closed")
        wait_ms = self._course.wait_ms(error)
        if error is None or calls_for_another_gateway(error):
            self._channels.leave(channel)
        await asyncio.sleep(wait_ms / 1000.0)
