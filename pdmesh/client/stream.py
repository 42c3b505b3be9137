"""A streamed answer, synchronous."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import grpc

from pdmesh.client.answer import Answer, Choice, Delta
from pdmesh.client.channels import Channels
from pdmesh.client.course import Course, Request
from pdmesh.client.errors import error_of
from pdmesh.client.retry import calls_for_another_gateway
from services.common.errors import Cancelled, MeshError

Open = Callable[[grpc.Channel, Request, float | None], Any]
"""Starts an attempt on a channel, with a timeout in seconds; returns gRPC's call."""


class Stream(Iterator[Delta]):
    """Iterates over an answer's deltas; `answer` is the whole of it afterwards.

    with mesh.chat("demo", "Hello") as stream:
        for delta in stream:
            print(delta.text, end="")
    print(stream.answer.usage)

    Leaving the block, or `close`, cancels what is not there yet. Iterating raises `MeshError`.
    """

    def __init__(self, course: Course, channels: Channels[grpc.Channel], open_call: Open) -> None:
        self._course = course
        self._channels = channels
        self._open_call = open_call
        self._call: Any = None
        self._waiting: deque[Delta] = deque()
        self._closed = threading.Event()

    @property
    def choices(self) -> list[Choice]:
        """What has come so far."""
        return self._course.choices

    @property
    def answer(self) -> Answer:
        """The whole answer; raises RuntimeError while the stream has not ended."""
        return self._course.answer

    def whole(self) -> Answer:
        """Read to the end; raises `MeshError`."""
        with self:
            for _ in self:
                pass
        return self.answer

    def close(self) -> None:
        """Tell the mesh that nobody wants the rest; any thread may."""
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __next__(self) -> Delta:
        while not self._waiting:
            if self._course.is_over:
                self.close()
                raise StopIteration
            self._read()
        return self._waiting.popleft()

    def _read(self) -> None:
        """Take one message in, or get over one failure."""
        channel = self._channels.current
        try:
            if self._closed.is_set():
                raise Cancelled("the stream was closed")
            if self._call is None:
                timeout_s = self._course.retrier.time_left_s()
                self._call = self._open_call(channel, self._course.request(), timeout_s)
            response = next(self._call, None)
            if response is not None:
                self._waiting.extend(self._course.take(response))
                return
            self._go_on_after(None, channel)
        except grpc.RpcError as failure:
            self._go_on_after(error_of(failure), channel)

    def _go_on_after(self, error: MeshError | None, channel: grpc.Channel) -> None:
        self._call = None
        if self._closed.is_set():
            raise Cancelled("the stream was closed")
        wait_ms = self._course.wait_ms(error)
        if error is None or calls_for_another_gateway(error):
            self._channels.leave(channel)
        self._closed.wait(wait_ms / 1000.0)
