"""Choosing a store by address."""

from collections.abc import Sequence

from services.common.credentials.seal import Seal
from services.common.errors import StoreUnavailable
from services.common.store.interface import Store
from services.common.store.journal import Journal
from services.common.store.memory import MemoryStore
from services.common.store.shelf import Shelf, ShelfBounds


def open_journal(url: str, *, kept_ttl_ms: int, secrets: Sequence[str] = ()) -> Journal | None:
    """The journal in the Redis at `url`; "" has none. Raises `StoreUnavailable` for an address that is none.

    Finished answers stay for `kept_ttl_ms`, encrypted with the first of `secrets` if there are any; the
    others still decrypt. Raises `BadSetting` for a secret that is too short.
    """
    if not url:
        return None
    from services.common.store.redis_journal import RedisJournal  # as below

    return RedisJournal(url, kept_ttl_ms=kept_ttl_ms, seal=Seal(secrets))


def open_store(url: str) -> Store:
    """The store at `url` (`redis://`, `rediss://`, `unix://`), whether it answers or not; "" is the one in
    this process. Raises `StoreUnavailable` for an address that is none.
    """
    if not url:
        return MemoryStore()
    from services.common.store.redis import RedisStore  # 100 ms of imports that one host does not need

    return RedisStore(url)


def open_shelf(url: str, bounds: ShelfBounds, secrets: Sequence[str] = ()) -> Shelf | None:
    """The shelf in the Redis at `url`; "" has none. Raises `StoreUnavailable` for an address that is none.

    Entries are encrypted as a journal's answers are.
    """
    if not url:
        return None
    from services.common.store.redis_shelf import RedisShelf  # as below

    return RedisShelf(url, bounds, seal=Seal(secrets))


async def connect(url: str) -> Store:
    """The same, known to answer; raises `StoreUnavailable` with one line."""
    store = open_store(url)
    try:
        await store.ping()
    except StoreUnavailable:
        await store.close()
        raise
    return store
