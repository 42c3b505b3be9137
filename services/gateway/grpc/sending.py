"""Sending an answer's messages as fast as the client takes them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import grpc.aio

from services.common.domain import Receipt
from services.common.errors import SlowReader
from services.common.rpc import send_head
from services.gateway.call.writers.interface import Header
from services.gateway.grpc.deltas import Response
from services.gateway.grpc.metadata import trailing


class Source(Protocol):
    """Where the messages come from."""

    on_full: Callable[[], None]
    """Called when more waits than may."""

    @property
    def is_over(self) -> bool:
        """Whether the last message was taken."""

    @property
    def receipt(self) -> Receipt | None:
        """For the trailers, once it is over."""

    def head(self) -> Sequence[Header]:
        """For the initial metadata, with the first message."""

    async def next(self) -> Response:
        """The next message; raises the answer's error."""


async def send(
    context: grpc.aio.ServicerContext, source: Source, request_id: str, stall_ms_max: float
) -> None:
    """Send until the answer's end, and the receipt in the trailers.

    Raises the answer's own error, or `SlowReader` when the client takes no message for `stall_ms_max` or more
    waits for it than may.
    """
    loop = asyncio.get_running_loop()
    has_begun = False
    try:
        async with asyncio.timeout(None) as patience:

            def give_up() -> None:
                if not patience.expired():
                    patience.reschedule(loop.time())

            while not source.is_over:
                message = await source.next()
                patience.reschedule(loop.time() + stall_ms_max / 1000.0)
                source.on_full = give_up
                if not has_begun:
                    await send_head(context, (("x-request-id", request_id), *source.head()))
                    has_begun = True
                await context.write(message)
                source.on_full = lambda: None
                patience.reschedule(None)
    except TimeoutError:
        raise SlowReader("the client does not read its answer") from None
    if source.receipt is not None:
        context.set_trailing_metadata(trailing(source.receipt))
