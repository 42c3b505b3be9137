"""A gateway whose loop runs in a thread of its own, for clients that block theirs."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.wire.gateway.conftest import Edge, running_edge

START_S_MAX = 60.0


@contextmanager
def threaded_edge(directory: Path) -> Iterator[Edge]:
    """A gateway with a scripted router while the block runs. Only its `router.script` may be touched."""
    made: list[tuple[Edge, asyncio.AbstractEventLoop]] = []
    is_ready, is_over = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with running_edge(directory, grace_ms=200) as edge:
            made.append((edge, asyncio.get_running_loop()))
            is_ready.set()
            await is_over.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert is_ready.wait(START_S_MAX)
    edge, loop = made[0]
    try:
        yield edge
    finally:
        loop.call_soon_threadsafe(is_over.set)
        thread.join()
