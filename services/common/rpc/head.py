"""The head of a call's answer: its initial metadata."""

import asyncio

import grpc.aio


async def send_head(context: grpc.aio.ServicerContext, metadata: tuple[tuple[str, str], ...] = ()) -> None:
    """Send a call's initial metadata, to the end even if cancelled.

    gRPC otherwise sends them with the first message, and cannot abort a call while they are on their way: its
    client would wait for ever. So a handler that may be cut short sends them alone, before all else.
    """
    sending = asyncio.get_running_loop().create_task(context.send_initial_metadata(metadata))
    try:
        await asyncio.shield(sending)
    except asyncio.CancelledError:
        await asyncio.wait((sending,))
        raise
