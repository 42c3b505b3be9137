"""What replicas share: a small key-value store with a time to live on everything.

`memory` serves one process, `redis` serves many; both keep the same promises.
"""

from services.common.store.connect import connect, open_journal, open_store
from services.common.store.interface import Store
from services.common.store.presence import Presence, announce, present

__all__ = ["Presence", "Store", "announce", "connect", "open_journal", "open_store", "present"]
