"""A process that books and then dies by SIGKILL, at a moment that its caller chooses.

python -m tests.unit.gateway.metering.dying_gateway STORE DIRECTORY COUNT MOMENT
"""

import asyncio
import os
import signal
import sys

from prometheus_client import CollectorRegistry

from services.common.store.ledger import RedisLedger
from services.gateway.accounts.metering import open_metering
from services.gateway.call.parts import Use


def die() -> None:
    """End as after `kill -9`: nothing is flushed, no `finally` runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def use(number: int) -> Use:
    """One request's use."""
    return Use(f"r{number}", "acme", "m", 10, 4, 5, 1.5)


async def book_and_die(store: str, directory: str, count: int, moment: str) -> None:
    """Book `count` uses, and die before they are sent, or after the store has half or all of them."""
    meter, ledger = open_metering(store, directory, (), CollectorRegistry())
    add = ledger.add

    async def add_and_die(log_id: str, entries: list[object]) -> int:
        share = entries[: len(entries) // 2] if moment == "half-counted" else entries
        await add(log_id, share)  # type: ignore[arg-type]
        die()
        return 0

    assert isinstance(ledger, RedisLedger)
    ledger.add = add_and_die  # type: ignore[method-assign, assignment]
    for number in range(count):
        meter.record(use(number))
    if moment == "booked":
        die()
    await meter.flush()


if __name__ == "__main__":
    asyncio.run(book_and_die(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
