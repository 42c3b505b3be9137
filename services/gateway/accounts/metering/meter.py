"""Books what tenants use, and has the store count it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

from services.common.background import keep_running
from services.common.clock import until_beat_s
from services.common.errors import StoreUnavailable
from services.common.store.usage import Ledger, UsageEntry
from services.gateway.accounts.metering.book import Book
from services.gateway.accounts.metering.metrics import MeteringMetrics
from services.gateway.accounts.metering.prices import FREE, PER_TOKENS, Prices
from services.gateway.accounts.metering.usage_log import UsageLog
from services.gateway.call.parts import Use

FLUSH_S = 0.5
"""How often the store is told what was booked, all of it in one message."""
ENTRIES_PER_FLUSH_MAX = 512
"""More go in the next message, which follows at once."""
UNBOOKED_MAX = 10_000
"""More than these between two messages are booked as they come."""
ABANDONED_S = 5.0
"""How often this gateway looks for what dead ones have left."""
LOG_AGE_S_MAX = 29 * 86_400
"""An older log may have been counted, and the store have forgotten that: it stays for a person to judge."""
KV_MEMORY = 0.98
"""What is left of the dearest KV-seconds a token after each further request."""

_log = logging.getLogger(__name__)


class Meter:
    """Booking does not wait for anything: it is written to this host's disk, and counted within a second."""

    def __init__(
        self,
        log_id: str,
        ledger: Ledger,
        book: Book,
        directory: Path | None,
        prices: Prices,
        metrics: MeteringMetrics,
        now_s: Callable[[], float],
    ) -> None:
        """`now_s` gives seconds since 1970; `directory` is where other gateways' logs may be found."""
        self._log_id = log_id
        self._ledger = ledger
        self._book = book
        self._directory = directory
        self._prices = prices
        self._metrics = metrics
        self._now_s = now_s
        self._is_away = False
        self._flushing = asyncio.Lock()
        self.on_counted: Callable[[Sequence[UsageEntry]], None] = lambda _: None
        """Told of uses booked here that the store has counted, or that are lost."""
        self._kv_nano_per_token: dict[str, float] = {}
        self._unbooked: list[tuple[Use, int, float]] = []
        """With the cost and the time of each."""
        metrics.watch(lambda: len(book) + len(self._unbooked))
        metrics.store_up.set(1)

    def record(self, use: Use) -> int:
        """Book one request's use; where there is no file to write it to, when it is counted, with others.

        Returns its cost in billionths of the currency.
        """
        cost_nano = self._cost_nano(use)
        if self._directory is None and len(self._unbooked) < UNBOOKED_MAX:
            self._unbooked.append((use, cost_nano, self._now_s()))
        else:
            self._add(self._entry(use, cost_nano, self._now_s()))
        return cost_nano

    def most_nano(self, model: str, base_model: str, prompt_tokens: int, generated_tokens: int) -> int:
        """The most that so many tokens may cost, in billionths of the currency.

        What their KV-seconds cost is not known before: it is taken to be what it was of late, by the token.
        """
        kv_nano = self._kv_nano_per_token.get(model, 0.0) * (prompt_tokens + generated_tokens)
        return self._prices.of(model, base_model).most_nano(prompt_tokens, generated_tokens) + int(kv_nano)

    def tokens_for(self, model: str, base_model: str, nano: int) -> int | None:
        """How many generated tokens so much money buys; None where they cost nothing."""
        price = self._prices.of(model, base_model).generated / PER_TOKENS
        per_token = price + self._kv_nano_per_token.get(model, 0.0)
        return int(nano / per_token) if per_token else None

    async def run(self) -> None:
        """Have the store count it, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_running("usage", self._flush_often))
            if (directory := self._directory) is not None:
                adopting = keep_running("usage of dead gateways", lambda: self._adopt_often(directory))
                tasks.create_task(adopting)

    async def flush(self) -> bool:
        """Have the store count all that is booked; False when it is away."""
        async with self._flushing:
            for booked in self._unbooked:
                self._add(self._entry(*booked))
            self._unbooked.clear()
            while entries := self._book.first(ENTRIES_PER_FLUSH_MAX):
                if not await self._count(self._log_id, entries):
                    return False
                self._book.counted(entries)
                self.on_counted(entries)
        return True

    def today(self) -> date:
        """The day, in UTC."""
        return _day(self._now_s())

    async def adopt(self, directory: Path) -> None:
        """Have the store count what dead gateways have left in their files.

        Raises OSError for the first file that could not be read, once the others are done.
        """
        trouble: OSError | None = None
        for log in UsageLog.abandoned(directory):
            try:
                with closing(log):
                    if not self._is_too_old(log) and not await self._adopt_one(log):
                        break
            except OSError as error:  # the others are counted nevertheless
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    async def close(self) -> None:
        """Count what is left if the store answers, else leave it on disk."""
        await self.flush()
        self._book.close()
        await self._ledger.close()

    async def _flush_often(self) -> None:
        while True:
            await asyncio.sleep(until_beat_s(FLUSH_S))
            await self.flush()

    async def _adopt_often(self, directory: Path) -> None:
        while True:
            await self.adopt(directory)
            await asyncio.sleep(ABANDONED_S)

    async def _adopt_one(self, log: UsageLog) -> bool:
        entries = await asyncio.to_thread(lambda: list(log.entries()))
        for begin in range(0, len(entries), ENTRIES_PER_FLUSH_MAX):
            if not await self._count(log.id, entries[begin : begin + ENTRIES_PER_FLUSH_MAX]):
                return False
        if entries:
            self._metrics.adopted.inc(len(entries))
            _log.warning("usage: %d requests of a gateway that has died are counted", len(entries))
        log.remove()
        return True

    def _is_too_old(self, log: UsageLog) -> bool:
        return self._now_s() - log.path.stat().st_mtime > LOG_AGE_S_MAX

    async def _count(self, log_id: str, entries: Sequence[UsageEntry]) -> bool:
        try:
            counted = await self._ledger.add(log_id, entries)
        except StoreUnavailable as error:
            self._note_away(error)
            return False
        self._metrics.counted.inc(counted)
        self._metrics.repeated.inc(len(entries) - counted)
        if self._is_away:
            self._is_away = False
            self._metrics.store_up.set(1)
            _log.warning("usage: the store answers again")
        return True

    def _note_away(self, error: StoreUnavailable) -> None:
        if not self._is_away:
            self._is_away = True
            self._metrics.store_up.set(0)
            _log.error("usage: %s; it waits on this host", error.message)

    def _add(self, entry: UsageEntry) -> None:
        if not self._book.add(entry):
            self.on_counted([entry])

    def _cost_nano(self, use: Use) -> int:
        price = self._prices.of(use.model, use.base_model)
        if price is FREE:
            return 0
        tokens = (use.prompt_tokens, use.cached_tokens, use.generated_tokens)
        cost_nano = price.cost_nano(*tokens, round(use.kv_seconds * 1000.0))
        if price.kv_second:
            self._note_kv(use, cost_nano - price.cost_nano(*tokens, 0))
        return cost_nano

    def _note_kv(self, use: Use, kv_nano: int) -> None:
        """Note what KV-seconds cost by the token; dear requests are forgotten slowly."""
        tokens = max(1, use.prompt_tokens + use.generated_tokens)
        known = self._kv_nano_per_token.get(use.model, 0.0) * KV_MEMORY
        self._kv_nano_per_token[use.model] = max(known, kv_nano / tokens)

    def _entry(self, use: Use, cost_nano: int, at_s: float) -> UsageEntry:
        return UsageEntry(
            number=self._book.next_number,
            day=_day(at_s).isoformat(),
            tenant=use.tenant,
            model=use.model,
            prompt_tokens=use.prompt_tokens,
            cached_tokens=use.cached_tokens,
            generated_tokens=use.generated_tokens,
            kv_token_ms=round(use.kv_seconds * 1000.0),
            cost_nano=cost_nano,
        )


def _day(at_s: float) -> date:
    """In UTC."""
    return datetime.fromtimestamp(at_s, UTC).date()
