"""Putting the metering of one gateway together."""

import time
import uuid
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry

from services.common.errors import BadSetting
from services.common.store.memory_ledger import MemoryLedger
from services.common.store.usage import Ledger
from services.gateway.accounts.metering.book import Book
from services.gateway.accounts.metering.meter import Meter
from services.gateway.accounts.metering.metrics import MeteringMetrics
from services.gateway.accounts.metering.prices import Prices
from services.gateway.accounts.metering.usage_log import UsageLog, usage_directory

STORE_TIMEOUT_S = 2.0
CONNECTIONS_MAX = 2


def open_metering(
    store: str,
    usage_dir: str,
    prices: Sequence[str],
    registry: CollectorRegistry,
    now_s: Callable[[], float] = time.time,
) -> tuple[Meter, Ledger]:
    """A meter, to be run and closed, and the counters that it keeps; in memory where `store` is empty.

    Raises `BadSetting` for prices that are none and a directory that cannot be used, `StoreUnavailable` for
    an address that is none. A Redis that does not answer is no error.
    """
    parsed, metrics = Prices(prices), MeteringMetrics(registry)
    if not store:
        memory = MemoryLedger()
        meter = Meter(uuid.uuid4().hex, memory, Book(None, metrics), None, parsed, metrics, now_s)
        return meter, memory
    from services.common.store.client import RedisClient  # 100 ms of imports that one host does not need
    from services.common.store.ledger import RedisLedger

    ledger = RedisLedger(RedisClient(store, timeout_s=STORE_TIMEOUT_S, connections_max=CONNECTIONS_MAX))
    directory = usage_directory(usage_dir, store)
    try:
        log = UsageLog.create(directory)
    except OSError as error:
        raise BadSetting(f"--usage-dir: {directory}: {error.strerror}", field="usage_dir") from None
    return Meter(log.id, ledger, Book(log, metrics), directory, parsed, metrics, now_s), ledger
