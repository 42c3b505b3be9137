"""Sending an answer's messages as fast as the client takes them."""

import asyncio

import grpc.aio

from services.common.errors import SlowReader
from services.gateway.inference.metadata import initial, trailing
from services.gateway.inference.writer import RpcWriter


async def send(
    context: grpc.aio.ServicerContext, writer: RpcWriter, request_id: str, stall_ms_max: float
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

            while writer.ending is None or writer.has_news:
                message = await writer.next()
                patience.reschedule(loop.time() + stall_ms_max / 1000.0)
                writer.on_full = give_up
                if not has_begun:
                    await context.send_initial_metadata(initial(request_id, writer))
                    has_begun = True
                await context.write(message)
                writer.on_full = lambda: None
                patience.reschedule(None)
    except TimeoutError:
        raise SlowReader("the client does not read its answer") from None
    if writer.ending.receipts:
        context.set_trailing_metadata(trailing(writer.ending.receipts[0]))
