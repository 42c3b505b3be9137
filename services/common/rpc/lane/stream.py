"""One end of a lane: frames in and out of a connection."""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from services.common.errors import ProtocolViolation
from services.common.rpc.columns import columns_to_wire
from services.common.rpc.token_frame import TokenFrame

HEADER = struct.Struct("!BI")
DETAILS = "grpc-status-details-bin"
"""Where gRPC's metadata carries a `google.rpc.Status`."""
WAITING_BYTES_MAX = 1024 * 1024
"""Of messages received and not yet read; past it the connection is not read until all of them are."""


class Kind(IntEnum):
    """What a frame holds."""

    MESSAGE = 0
    OPENING = 1
    END = 2
    STATUS = 3
    TOKENS = 4


_MESSAGE, _TOKENS = int(Kind.MESSAGE), int(Kind.TOKENS)


class Frames:
    """Cuts bytes into frames; raises ProtocolViolation for one over the bound, before it is there."""

    def __init__(self, size_bytes_max: int) -> None:
        self.size_bytes_max = size_bytes_max
        self._rest = b""
        """The beginning of a frame."""
        self._parts: list[bytes] = []
        """What came after it, while it is short of the frame's end."""
        self._missing_bytes = 0

    def feed(self, data: bytes, on_frame: Callable[[int, bytes], None]) -> None:
        """Take bytes in and hand whole frames on, in order."""
        if self._rest:
            self._parts.append(data)
            self._missing_bytes -= len(data)
            if self._missing_bytes > 0:
                return
            data = b"".join((self._rest, *self._parts))
            self._parts.clear()
        begin, end_of_data = 0, len(data)
        self._missing_bytes = 0
        while (body := begin + HEADER.size) <= end_of_data:
            kind, size_bytes = HEADER.unpack_from(data, begin)
            if size_bytes > self.size_bytes_max:
                raise ProtocolViolation(f"a frame of {size_bytes} bytes, at most {self.size_bytes_max}")
            end = body + size_bytes
            if end > end_of_data:
                self._missing_bytes = end - end_of_data
                break
            begin = end
            on_frame(kind, data[body:end])
        self._rest = data[begin:]


class Stream(asyncio.Protocol):
    """Messages of one method, read and written like those of a `grpc.aio` call.

    Once the connection is gone, writing raises AioRpcError, and so does reading when all is read that came.
    """

    tells_end = True
    """An end that is read has been sent: a connection that breaks raises."""

    def __init__(self, size_bytes_max: int) -> None:
        self.takes_token_frames = False
        """Whether the peer does: known once the stream is open."""
        self.transport: asyncio.Transport | None = None
        self._frames = Frames(size_bytes_max)
        self._message: type[Message] | None = None
        """What the peer sends; nothing before the stream is open."""
        self._received: deque[Any] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._pump: _Pump | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting_bytes = 0
        self._is_reading = True
        self._end: Any = None
        """What a read finds after the last message: the end, or an exception to raise."""

    async def read(self) -> Any:
        """The next message; `grpc.aio.EOF` after the last one, or the error that ended the stream."""
        while not self._received:
            if self._end is not None:
                return self._ended()
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        message = self._received.popleft()
        if not self._received:
            self._read_on()
        return message

    async def pump(
        self, on_message: Callable[[Any], None], on_tokens: Callable[[TokenFrame], None] | None = None
    ) -> Any:
        """Hand every message on in the very call that brings it, which spares a task's turn for each.

        Token frames go to `on_tokens` as they are, or else as messages. Returns and raises as the read after
        the last message does; raises what `on_message` and `on_tokens` raise.
        """
        while self._received:
            on_message(self._received.popleft())
        self._read_on()
        if self._end is not None:
            return self._ended()
        self._pump = _Pump(on_message, on_tokens, asyncio.get_running_loop().create_future())
        try:
            await self._pump.over
        finally:
            self._pump = None
        return self._ended()

    async def write(self, message: Message | TokenFrame) -> None:
        """Send a message; returns once the connection takes more."""
        if self._end is not None:
            self._ended()
        self.post(message)
        if not self._writable.is_set():
            await self._writable.wait()

    def can_post(self) -> bool:
        """Whether a message can be sent without waiting."""
        return self._end is None and self._writable.is_set()

    def post(self, message: Message | TokenFrame) -> None:
        """Send a message at once; the connection keeps what it cannot take."""
        if type(message) is TokenFrame:
            self._send(_TOKENS, message.encode())
        else:
            self._send(_MESSAGE, cast(Message, message).SerializeToString())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            self._frames.feed(data, self._on_frame)
        except (ProtocolViolation, DecodeError) as fault:
            self._violated(fault)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._finish(_lost(exc))

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable.set()

    def _on_frame(self, kind: int, body: bytes) -> None:
        if self._message is None or kind not in (_TOKENS, _MESSAGE):
            self._on_other(kind, body)
            return
        pump = self._pump
        message: Any
        if kind == _MESSAGE:
            message = self._message.FromString(body)
        else:
            message = TokenFrame.decode(body)
            if pump is None or pump.on_tokens is None:
                message = _as_message(self._message, message)
        if pump is not None:
            pump.hand_on(message)
            return
        self._received.append(message)
        self._waiting_bytes += len(body)
        if self._waiting_bytes > WAITING_BYTES_MAX and self._is_reading and self.transport is not None:
            self._is_reading = False
            self.transport.pause_reading()
        self._wake()

    def _read_on(self) -> None:
        self._waiting_bytes = 0
        if not self._is_reading and self.transport is not None:
            self._is_reading = True
            self.transport.resume_reading()

    def _on_other(self, kind: int, body: bytes) -> None:
        """Take a frame that is no message; raises ProtocolViolation."""
        raise ProtocolViolation(f"a frame of kind {kind} here")

    def _violated(self, fault: Exception) -> None:
        """The peer broke the rules."""
        self._finish(_lost(fault))
        if self.transport is not None:
            self.transport.abort()

    def _send(self, kind: int, body: bytes = b"") -> None:
        if self.transport is not None:
            self.transport.write(HEADER.pack(kind, len(body)) + body)

    def _finish(self, end: Any) -> None:
        """Nothing follows; the first word counts."""
        if self._end is None:
            self._end = end
        self._writable.set()
        self._wake()
        if self._pump is not None:
            self._pump.end()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _ended(self) -> Any:
        if isinstance(self._end, BaseException):
            raise self._end
        return self._end


class _Pump:
    """Hands messages on until one of them is refused, or there are no more."""

    __slots__ = ("on_message", "on_tokens", "over")

    def __init__(
        self,
        on_message: Callable[[Any], None],
        on_tokens: Callable[[TokenFrame], None] | None,
        over: "asyncio.Future[None]",
    ) -> None:
        self.on_message, self.on_tokens, self.over = on_message, on_tokens, over

    def hand_on(self, message: Any) -> None:
        """Pass a message to whoever pumps; its fault, if it has one, ends the pumping."""
        if self.over.done():
            return
        try:
            if type(message) is TokenFrame and self.on_tokens is not None:
                self.on_tokens(message)
            else:
                self.on_message(message)
        except Exception as fault:  # told to whoever pumps, who is not the one that called us
            self.over.set_exception(fault)

    def end(self) -> None:
        """Nothing follows."""
        if not self.over.done():
            self.over.set_result(None)


def _as_message(kind: type[Message], frame: TokenFrame) -> Message:
    """The message that says the same; raises ProtocolViolation where messages carry no tokens."""
    if "tokens" not in kind.DESCRIPTOR.fields_by_name:
        raise ProtocolViolation("a token frame on a stream without tokens")
    columns = columns_to_wire(frame.columns())
    make: Any = kind
    message: Message = make(sequence=frame.sequence, acknowledged=frame.acknowledged, tokens=columns)
    return message


def _lost(why: Exception | None) -> grpc.aio.AioRpcError:
    """The error for whoever reads or writes once the connection is gone."""
    details = "the connection is gone" if why is None else f"the connection is gone: {why}"
    return rpc_error(grpc.StatusCode.UNAVAILABLE, details)


def rpc_error(code: grpc.StatusCode, details: str, *trailing: tuple[str, bytes]) -> grpc.aio.AioRpcError:
    """What `grpc.aio` raises for a call that ended like this."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details)
