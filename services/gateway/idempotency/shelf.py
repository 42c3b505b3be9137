"""The answers that a gateway holds, running and finished, within their bounds."""

from collections.abc import Callable, Iterable

from services.common.clock import Clock
from services.common.limits import Limits
from services.gateway.idempotency.held import Held


class Shelf:
    """Answers by name. What expires or must make room is told to `on_dropped`."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.on_dropped: Callable[[Held], None] = lambda _: None
        self._limits = limits
        self._clock = clock
        self._running: dict[str, Held] = {}
        self._finished: dict[str, Held] = {}
        """Oldest first, which is the order in which they expire."""
        self._finished_bytes = 0

    @property
    def running(self) -> Iterable[Held]:
        """Those that are being written, as they are now."""
        return tuple(self._running.values())

    @property
    def held_bytes(self) -> int:
        """What all answers take of memory."""
        return self._finished_bytes + sum(held.tape.held_bytes for held in list(self._running.values()))

    @property
    def count(self) -> int:
        """Names that are held."""
        return len(self._running) + len(self._finished)

    def find(self, name: str) -> Held | None:
        """What is held under a name, unless its time is over."""
        self._drop_expired()
        return self._running.get(name) or self._finished.get(name)

    def add(self, held: Held) -> None:
        """Hold an answer that is being written."""
        self._running[held.name] = held

    def keep(self, held: Held) -> None:
        """Hold a finished answer until its time is over, or room is needed."""
        if self._running.pop(held.name, None) is held:
            held.expires_ms = self._clock.now_ms() + self._limits.idempotency_ttl_ms
            self._finished[held.name] = held
            held.kept_bytes = held.tape.held_bytes
            self._finished_bytes += held.kept_bytes
            self.make_room()

    def remove(self, held: Held) -> None:
        """Forget an answer."""
        if self._running.get(held.name) is held:
            del self._running[held.name]
        elif self._finished.get(held.name) is held:
            self._take_finished(held.name)

    def make_room(self) -> None:
        """Drop what is over its time, then the oldest, then keep no more of the largest that is running."""
        self._drop_expired()
        keys_max, bytes_max = self._limits.idempotency_keys_max, self._limits.idempotency_kept_bytes_max
        running_bytes = self.held_bytes - self._finished_bytes
        while self._finished and (self.count > keys_max or running_bytes + self._finished_bytes > bytes_max):
            self._drop_oldest()
        while self.held_bytes > bytes_max and self._discard_largest():
            pass

    def _drop_expired(self) -> None:
        now_ms = self._clock.now_ms()
        while self._finished and next(iter(self._finished.values())).expires_ms <= now_ms:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self.on_dropped(self._take_finished(next(iter(self._finished))))

    def _take_finished(self, name: str) -> Held:
        held = self._finished.pop(name)
        self._finished_bytes -= held.kept_bytes
        return held

    def _discard_largest(self) -> bool:
        kept = [held for held in self._running.values() if held.tape.is_kept and held.tape.held_bytes]
        if kept:
            max(kept, key=lambda held: held.tape.held_bytes).tape.discard()
        return bool(kept)
