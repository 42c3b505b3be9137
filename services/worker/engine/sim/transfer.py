"""Moving an offered KV from one process to another, over TCP.

The puller sends one JSON line, {"op": "pull" | "drop", "handoff_id": ..., "skip_blocks": n}. A pull is
answered, after the time that the profile asks for, by one JSON line {"status": ..., "size": n, "digest": ...}
and n bytes of KV content; the puller checks them and says "adopted", upon which the blocks are freed.
"""

import asyncio
import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

from services.worker.engine.handoff_failure import unreachable
from services.worker.engine.sim.offers import Offer, Offers

LINE_SIZE_BYTES_MAX = 4096
CONNECT_TIMEOUT_S = 1.0
"""For the first contact with a prefill worker."""
ACKNOWLEDGED = b"adopted\n"


class HandoffFailed(Exception):
    """The KV did not arrive, or not as it should be."""


class TransferRules(Protocol):
    """What the serving side asks of its engine for each pull."""

    def refuses_pulls(self) -> bool:
        """Whether to hang up on a puller."""

    def damages_next(self) -> bool:
        """Whether this KV arrives damaged."""

    def transfer_ms(self, blocks: int) -> float:
        """How long these blocks are on their way."""

    def offer_settled(self) -> None:
        """An offer has just ended here."""


class HandoffServer:
    """The prefill side: serves the open offers of one engine."""

    def __init__(self, offers: Offers, rules: TransferRules, *, timeout_ms: int) -> None:
        self._offers = offers
        self._rules = rules
        self._timeout_s = timeout_ms / 1e3
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str) -> tuple[str, int]:
        """Listen on a free port of `host`; returns the address. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, host, 0, limit=LINE_SIZE_BYTES_MAX)
        bound = self._server.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    async def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                request = _decode(await reader.readline())
                if request.get("op") == "drop":
                    self._settle(str(request.get("handoff_id")))
                elif not self._rules.refuses_pulls():
                    await self._serve_pull(request, reader, writer)
        except (OSError, TimeoutError, ValueError):
            pass  # the puller is gone or talks nonsense; its offer, if any, stays for the lease to settle
        finally:
            writer.close()

    async def _serve_pull(
        self, request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        offer = self._offers.find(str(request.get("handoff_id")))
        if offer is None or offer.being_pulled:
            writer.write(_encode({"status": "gone" if offer is None else "taken"}))
            return await writer.drain()
        offer.being_pulled = True
        try:
            await self._send(offer, int(request.get("skip_blocks", 0)), writer)
            if await reader.readline() == ACKNOWLEDGED:
                self._settle(offer.handoff_id)
        finally:
            offer.being_pulled = False

    async def _send(self, offer: Offer, skip_blocks: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._rules.transfer_ms(max(offer.holding.blocks - skip_blocks, 0)) / 1e3)
        if self._offers.find(offer.handoff_id) is not offer:
            # Released or expired on the way: the blocks may be another's by now.
            writer.write(_encode({"status": "gone"}))
        else:
            content = offer.content
            header = {"status": "ok", "size": len(content), "digest": _digest(content)}
            damaged = bytes([content[0] ^ 1]) + content[1:] if self._rules.damages_next() else content
            writer.write(_encode(header) + damaged)
        await writer.drain()

    def _settle(self, handoff_id: str) -> None:
        if self._offers.settle(handoff_id):
            self._rules.offer_settled()


@dataclass(frozen=True, slots=True)
class Peer:
    """Where one offered KV can be pulled."""

    host: str
    port: int
    handoff_id: str

    @classmethod
    def parse(cls, connector_params: bytes) -> "Peer":
        """From a ticket; raises HandoffFailed."""
        try:
            params = json.loads(connector_params)
            return cls(str(params["host"]), int(params["port"]), str(params["handoff_id"]))
        except (ValueError, KeyError, TypeError) as error:
            raise HandoffFailed(f"connector_params are not of the sim engine: {error!r}") from error

    async def pull(self, expected: bytes, skip_blocks: int) -> None:
        """Take the KV over; `expected` is the content that the job's text has. Raises HandoffFailed."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(self.host, self.port)
        except OSError as error:
            raise HandoffFailed(unreachable(self.host, self.port, error)) from error
        try:
            writer.write(_encode({"op": "pull", "handoff_id": self.handoff_id, "skip_blocks": skip_blocks}))
            header = _decode(await reader.readline())
            if header.get("status") != "ok":
                raise HandoffFailed(f"the KV is {header.get('status')}")
            content = await reader.readexactly(int(header["size"]))
            if _digest(content) != header.get("digest"):
                raise HandoffFailed("the KV is damaged")
            if content != expected:
                raise HandoffFailed("the KV is of another text")
            writer.write(ACKNOWLEDGED)
            await writer.drain()
        except (OSError, EOFError, ValueError, KeyError) as error:
            raise HandoffFailed(f"the KV did not arrive: {error}") from error
        finally:
            writer.close()

    async def drop(self) -> None:
        """Tell the prefill side to free the KV; says nothing when it is away, its lease settles it then."""
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
            writer.write(_encode({"op": "drop", "handoff_id": self.handoff_id}))
            await writer.drain()
            writer.close()
        except OSError:
            return


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _decode(line: bytes) -> dict[str, Any]:
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message
