"""What was placed where lately: conversations and LoRA adapters, bounded, forgotten in time."""

from collections import OrderedDict
from collections.abc import Collection
from typing import Generic, TypeVar

from services.common.domain import Request, Role

Key = TypeVar("Key")
Value = TypeVar("Value")

WORKERS_PER_ADAPTER_MAX = 8


class Recent(Generic[Key, Value]):
    """The values used last, so many and no older than so long."""

    def __init__(self, entries_max: int, ttl_ms: float) -> None:
        self._entries_max, self._ttl_ms = entries_max, ttl_ms
        self._entries: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: Key, value: Value, now_ms: float) -> None:
        """Note a value, as the newest."""
        self._entries[key] = (now_ms, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)

    def get(self, key: Key, now_ms: float) -> Value | None:
        """The value noted; `None` when there is none or it is too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now_ms - entry[0] > self._ttl_ms:
            del self._entries[key]
            return None
        return entry[1]


class Conversations:
    """Which worker served a conversation last; a stand-in for KV events where a worker sends none."""

    def __init__(self, conversations_max: int, ttl_ms: float) -> None:
        self._recent: Recent[tuple[str, str, str, Role], int] = Recent(conversations_max, ttl_ms)

    def placed(self, request: Request, tier: Role, session: int, now_ms: float) -> None:
        """A request has been placed."""
        if request.session_key:
            self._recent.put(_conversation(request, tier), session, now_ms)

    def worker_of(self, request: Request, tier: Role, now_ms: float) -> int | None:
        """The session of the worker that served the conversation last."""
        if not request.session_key:
            return None
        return self._recent.get(_conversation(request, tier), now_ms)


def _conversation(request: Request, tier: Role) -> tuple[str, str, str, Role]:
    return request.model, request.tenant, request.session_key, tier


class Adapters:
    """Which workers have run a LoRA adapter, the last few of each."""

    def __init__(self, adapters_max: int, ttl_ms: float) -> None:
        self._recent: Recent[tuple[str, str], OrderedDict[int, None]] = Recent(adapters_max, ttl_ms)

    def ran(self, request: Request, session: int, now_ms: float) -> None:
        """A request has been placed."""
        if not request.lora:
            return
        key = (request.model, request.lora)
        workers = self._recent.get(key, now_ms) or OrderedDict()
        workers[session] = None
        workers.move_to_end(session)
        if len(workers) > WORKERS_PER_ADAPTER_MAX:
            workers.popitem(last=False)
        self._recent.put(key, workers, now_ms)

    def workers_of(self, request: Request, now_ms: float) -> Collection[int]:
        """Sessions of those that have run the request's adapter."""
        return (self._recent.get((request.model, request.lora), now_ms) or ()) if request.lora else ()
