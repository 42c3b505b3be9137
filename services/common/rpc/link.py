"""One long-lived stream between two processes, numbered, acknowledged, bounded and watched.

What is to be sent collects in a `Draft`; the writer takes all of it as one frame whenever the wire has
room, so a busy link sends fewer and larger frames instead of a queue of small ones.
"""

import asyncio
import contextlib
from array import array
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

import grpc.aio

from services.common.clock import Clock, MonotonicClock, until_beat_s
from services.common.errors import MeshError, ProtocolViolation
from services.common.limits import DEFAULTS, Limits
from services.common.rpc.head import send_head
from services.common.rpc.token_frame import TokenFrame
from services.common.rpc.token_pace import TokenPace

FAREWELL_S = 1.0
"""How long a server may take to read a client's last frame."""

In = TypeVar("In")
Out_co = TypeVar("Out_co", covariant=True)
Out = TypeVar("Out")


class Draft(Protocol[Out_co]):
    """What waits for one peer."""

    def is_clear(self) -> bool:
        """Whether nothing waits, and there is nothing that every frame has to say."""

    def has_tokens_alone(self) -> bool:
        """Whether nothing waits but tokens, which may wait for more."""

    def take_tokens(self, sequence: int, acknowledged: int) -> TokenFrame | None:
        """What waits, if that is tokens, one for each of some streams; else take it as a frame."""

    def take(self, sequence: int, acknowledged: int) -> Out_co:
        """What waits, as one frame, which may be empty and is never over the frame's bound."""

    def is_empty(self) -> bool:
        """Whether `take` has left nothing."""

    def size_bytes(self) -> int:
        """Roughly what waits."""


class LinkLost(Exception):  # a normal end of a link, not an error of the mesh
    """The peer is gone, silent, or does not read."""


class PeerSilent(LinkLost):
    """Nothing has come for too long: it may have died, or stand still, or be cut off."""


class Link(Generic[In, Out]):
    """Runs one stream's two directions until either ends.

    `call` is a `grpc.aio` client call or servicer context; both read and write frames.
    """

    def __init__(
        self, call: Any, draft: Draft[Out], *, limits: Limits = DEFAULTS, clock: Clock | None = None
    ) -> None:
        self._call = call
        self._draft = draft
        self._limits = limits
        self._clock = clock or MonotonicClock()
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._sent = self._acknowledged_by_peer = 0
        self._received = self._acknowledged_to_peer = 0
        self._spoke_ms = self._clock.now_ms()
        self._pace = TokenPace(limits.token_frame_interval_ms, self._spoke_ms)
        self._has_joined = False
        """Whether tokens came while others waited."""
        self._silent_ms = 0.0
        """How long nothing has come while we were there to take it."""
        self._closing = False
        self._lane: Any = None
        """The call while the link runs, if it hands messages on and takes them without a task's turn."""
        self._loop: asyncio.AbstractEventLoop
        self._is_due = False
        self._pause: asyncio.TimerHandle | None = None
        """While tokens wait for more: until when."""
        self._patience: asyncio.TimerHandle | None = None
        """While something waits for a frame to go with: until when."""
        self._has_late_news = False
        """Whether that is more than an acknowledgement."""
        self.is_broken = True
        """Whether the peer, once it is lost, has gone without a word, as the dead do."""

    def wake(self) -> None:
        """Say that the draft has something to send."""
        if self._lane is None:
            self._work.set()
        elif not self._is_due:
            if self._pause is None or not self._draft.has_tokens_alone():
                self._is_due = True
                self._loop.call_soon(self._push)
            else:
                self._has_joined = True

    def post_tokens(self, streams: "array[int]", token_ids: "array[int]") -> bool:
        """Send one token for each of some streams at once; False, and nothing is sent, if they have to wait.

        They have to where something else waits, where it is too early, and where there is no lane that takes
        token frames; then they belong into the draft.
        """
        lane, now_ms = self._lane, self._clock.now_ms()
        if (
            lane is None
            or now_ms < self._pace.due_ms
            or self._is_due
            or self._closing
            or not self._draft.is_clear()
            or not (lane.takes_token_frames and lane.can_post() and self._has_room())
        ):
            return False
        self._count_frame(now_ms)
        lane.post(TokenFrame(self._sent, self._received, streams, token_ids))
        return True

    @property
    def acknowledged(self) -> int:
        """The newest of our frames that the peer is known to have taken in; 0 before the first."""
        return self._acknowledged_by_peer

    def wake_later(self) -> None:
        """Say that the draft has something to send that may wait a little for company."""
        self._has_late_news = True
        self.acknowledge_later()

    def acknowledge_later(self) -> None:
        """Say that the peer is to know what has come, but need not know at once."""
        if self._patience is None:
            patience_s = self._limits.frame_patience_ms / 1000.0
            self._patience = asyncio.get_running_loop().call_later(patience_s, self._send_rest)

    def _send_rest(self) -> None:
        self._patience = None
        if self._received > self._acknowledged_to_peer or self._has_late_news:
            self._work.set()

    def close(self) -> None:
        """Send what the draft holds, then end `run` normally."""
        self._closing = True
        self._work.set()

    async def run(
        self, on_frame: Callable[[In], None], on_tokens: Callable[[TokenFrame], None] | None = None
    ) -> None:
        """Exchange frames; `on_frame` is called in order and must not block.

        Frames of nothing but tokens go to `on_tokens`, if it is there and they come in their short form.
        Returns after `close`. Raises LinkLost when the peer goes, and the MeshError that `on_frame`
        raised or that the peer's frames deserve.
        """
        self._loop = asyncio.get_running_loop()
        self._lane = self._call if hasattr(self._call, "pump") else None
        if hasattr(self._call, "send_initial_metadata"):  # a servicer's, whom a bad frame may have it abort
            await send_head(self._call)
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(on_frame, on_tokens))
                watcher = tasks.create_task(self._watch())
                await self._write()
                await self._say_farewell(reader)
                reader.cancel()
                watcher.cancel()
        except BaseExceptionGroup as group:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # The group hides a cancellation that came while a direction was failing.
                raise asyncio.CancelledError from None
            cause = _cause(group)
            if isinstance(cause, PeerSilent):
                await self._say_goodbye()
            raise cause from None
        finally:
            self._lane = None
            self._end_pause()
            if self._patience is not None:
                self._patience.cancel()

    async def _say_goodbye(self) -> None:
        """A peer that only stood still is to learn that we have not died."""
        if hasattr(self._call, "done_writing"):
            with contextlib.suppress(TimeoutError, *_EXPECTED):
                async with asyncio.timeout(FAREWELL_S):
                    await self._call.done_writing()

    async def _say_farewell(self, reader: "asyncio.Task[None]") -> None:
        """Let a server read on to our last frame; a call that is cancelled at once may lose it."""
        if hasattr(self._call, "done_writing"):
            await self._call.done_writing()
            await asyncio.wait((reader,), timeout=FAREWELL_S)

    async def _read(
        self, on_frame: Callable[[In], None], on_tokens: Callable[[TokenFrame], None] | None
    ) -> None:
        try:
            await self._read_all(on_frame, on_tokens)
        except grpc.aio.AioRpcError:
            if not self._closing:  # else we have ended it, and how the other end takes it does not matter
                raise
        self.is_broken = not getattr(self._call, "tells_end", False)  # gRPC's looks like a broken one
        if not self._closing:
            raise LinkLost("the peer ended the stream")

    async def _read_all(
        self, on_frame: Callable[[In], None], on_tokens: Callable[[TokenFrame], None] | None
    ) -> None:
        """Take every frame in; returns with the last one."""
        take = self._taking(on_frame)
        if self._lane is not None:
            await self._lane.pump(take, None if on_tokens is None else self._taking(on_tokens))
            return
        while (frame := await self._call.read()) is not grpc.aio.EOF:
            take(frame)

    def _taking(self, on_frame: Callable[[Any], None]) -> Callable[[Any], None]:
        unacknowledged_max = self._limits.frames_unacknowledged_max // 2

        def take(frame: Any) -> None:
            sequence, acknowledged = frame.sequence, frame.acknowledged
            if sequence != self._received + 1:
                raise ProtocolViolation(f"frame {sequence} follows frame {self._received}")
            if acknowledged > self._acknowledged_by_peer:
                if acknowledged > self._sent:
                    raise ProtocolViolation(f"frame {acknowledged} acknowledged, {self._sent} sent")
                self._acknowledged_by_peer = acknowledged
                self._room.set()
            self._received = sequence
            self._silent_ms = 0.0
            if sequence - self._acknowledged_to_peer >= unacknowledged_max:
                self._work.set()
            on_frame(frame)

        return take

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            await self._wait_for_room()
            self._work.clear()
            closing = self._closing
            await self._call.write(self._next())
            if not self._draft.is_empty():
                self._work.set()
            elif closing:
                return

    def _push(self) -> None:
        """Send what has collected in this turn of the loop; where that means to wait, the writer does it."""
        self._is_due = False
        early_ms = self._pace.due_ms - self._clock.now_ms()
        if early_ms > 0 and self._draft.has_tokens_alone():
            self._pause = self._loop.call_later(early_ms / 1000.0, self._post_rest)
        else:
            self._post()

    def _post_rest(self) -> None:
        """The tokens have waited; a heartbeat may have taken them along."""
        self._pause = None
        if not self._draft.is_empty():
            self._post()

    def _end_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _post(self) -> None:
        self._end_pause()
        if self._lane is None or self._closing or not (self._has_room() and self._lane.can_post()):
            self._work.set()
            return
        self._lane.post(self._next())
        if not self._draft.is_empty():
            self._work.set()

    def _has_room(self) -> bool:
        return self._sent - self._acknowledged_by_peer < self._limits.frames_unacknowledged_max

    async def _wait_for_room(self) -> None:
        while not self._has_room():
            self._room.clear()
            await self._room.wait()

    def _next(self) -> Out | TokenFrame:
        self._count_frame(self._clock.now_ms())
        if self._lane is not None and self._lane.takes_token_frames:
            tokens = self._draft.take_tokens(self._sent, self._received)
            if tokens is not None:
                if self._has_joined:
                    self._pace.joined(tokens.streams)
                    self._has_joined = False
                return tokens
        self._has_joined = False
        return self._draft.take(self._sent, self._received)

    def _count_frame(self, now_ms: float) -> None:
        self._sent += 1
        self._has_late_news = False
        self._acknowledged_to_peer = self._received
        self._spoke_ms = now_ms
        self._pace.sent(now_ms)

    async def _watch(self) -> None:
        interval_ms, before_ms = self._limits.heartbeat_interval_ms, self._clock.now_ms()
        while True:
            await asyncio.sleep(until_beat_s(interval_ms / 1000.0))
            now_ms = self._clock.now_ms()
            # While we stood still ourselves its frames may have come, and wait to be read.
            self._silent_ms += min(now_ms - before_ms, 2.0 * interval_ms)
            before_ms = now_ms
            if self._silent_ms > self._limits.heartbeat_timeout_ms:
                self.is_broken = False
                raise PeerSilent(f"the peer has been silent for {self._silent_ms:.0f} ms")
            if self._draft.size_bytes() > self._limits.outbox_size_bytes_max:
                raise LinkLost("the peer does not read")
            if now_ms - self._spoke_ms >= interval_ms * 0.9:
                self._work.set()


def _cause(group: BaseExceptionGroup[Any]) -> BaseException:
    """The one error to report of those that both directions ended with, the most telling one.

    When the peer goes, a read fails with its status while a write fails with no more than "finished".
    An error of any other kind is a fault of ours, and the whole group is shown.
    """
    errors = list(_leaves(group))
    if not all(isinstance(error, _EXPECTED) for error in errors):
        return group
    for kind in (MeshError, grpc.aio.AioRpcError, LinkLost):
        for error in errors:
            if isinstance(error, kind):
                return error
    return LinkLost(f"stream closed: {errors[0]}")


_EXPECTED = (MeshError, LinkLost, grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError)


def _leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
