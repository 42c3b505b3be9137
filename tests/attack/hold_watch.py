"""How long an event loop is held up by one callback, in time of the processor."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch


@dataclass
class HoldWatch:
    """The longest callback so far. Time of its own thread does not grow with what else the machine does."""

    held_ms: float = 0.0
    by: str = ""


@contextmanager
def watched_loop() -> Iterator[HoldWatch]:
    """Watch every callback of this thread's event loops while the block runs."""
    watch, run = HoldWatch(), asyncio.events.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began_s = time.thread_time()
        run(handle)
        took_ms = (time.thread_time() - began_s) * 1000.0
        if took_ms > watch.held_ms:
            watch.held_ms, watch.by = took_ms, repr(handle)

    with patch.object(asyncio.events.Handle, "_run", timed):
        yield watch
