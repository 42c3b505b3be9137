"""A background task that begins again after a failure, since the process can go on serving without it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from services.common.background.metrics import FAILURES

RETRY_S = 1.0
"""Between a failure and the next attempt."""

_log = logging.getLogger("pdmesh.background")


async def keep_running(
    name: str, work: Callable[[], Awaitable[None]], *, fatal: tuple[type[Exception], ...] = ()
) -> None:
    """Run `work` until it returns or is cancelled; after any error but a `fatal` one, run it again.

    A full disk, a lack of descriptors or an answer that nothing expected lasts for a while, and the process
    serves meanwhile. The same error several times in a row is logged once, and always counted.
    """
    told = ""
    while True:
        try:
            return await work()
        except fatal:
            raise
        except Exception as error:  # the process goes on without it, and this is tried again
            FAILURES.labels(name).inc()
            what = f"{type(error).__name__}: {error}"
            if what != told:
                told = what
                _log.error(
                    "%s failed and is tried again every %.0f s: %s", name, RETRY_S, what, exc_info=error
                )
        await asyncio.sleep(RETRY_S)
