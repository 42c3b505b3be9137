"""Bodies to what they ask for, without holding up the event loop."""

from collections.abc import Callable
from typing import TypeVar

from services.common.limits import Limits
from services.gateway.call.fair_threads import FairThreads
from services.gateway.http import Exchange

INLINE_BODY_BYTES_MAX = 64 * 1024
"""Longer bodies are parsed in a thread: so much takes 5 ms at worst, and handing over about 0.2."""

T = TypeVar("T")


class BodyReader:
    """Parses bodies. Once that is done, or has failed, the body itself is let go."""

    def __init__(self, threads: FairThreads, limits: Limits) -> None:
        self._threads = threads
        self._limits = limits

    def is_long(self, exchange: Exchange) -> bool:
        """Whether parsing takes so long that it has to be awaited."""
        return len(exchange.request.body) > INLINE_BODY_BYTES_MAX

    def parsed(self, exchange: Exchange, parse: Callable[[bytes, Limits], T]) -> T:
        """What a short body asks for; raises `InvalidField`."""
        body = exchange.request.body
        exchange.request.release()
        return parse(body, self._limits)

    async def glimpsed(self, exchange: Exchange, look: Callable[[bytes], T]) -> T:
        """What a look at a body finds before it is parsed; raises what `look` does, and `RenderingFull`."""
        body = exchange.request.body
        if not self.is_long(exchange):
            return look(body)
        return await self._threads.run(exchange.caller, len(body), look, body)

    async def parsed_soon(self, exchange: Exchange, parse: Callable[[bytes, Limits], T]) -> T:
        """What any body asks for; raises `InvalidField`, and `RenderingFull` where too much is in work."""
        if not self.is_long(exchange):
            return self.parsed(exchange, parse)
        body = exchange.request.body
        exchange.request.release()
        return await self._threads.run(exchange.caller, len(body), parse, body, self._limits)
