"""What replicas share: a small key-value store with a time to live on everything.

`memory` serves one process, `redis` serves many; both keep the same promises.
"""

from services.common.store.connect import connect, open_journal, open_shelf, open_store
from services.common.store.interface import Store
from services.common.store.presence import Presence, announce, present
from services.common.store.shelf import Shelf, ShelfBounds

__all__ = [
    "Presence",
    "Shelf",
    "ShelfBounds",
    "Store",
    "announce",
    "connect",
    "open_journal",
    "open_shelf",
    "open_store",
    "present",
]
