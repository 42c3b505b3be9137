"""Offered KV: held by the prefill side under a lease until it is adopted, released or expired."""

import json
import secrets
from array import array
from dataclasses import dataclass

from services.common.domain import HandoffOffered, HandoffReleased, TokenLogprobs
from services.worker.engine.sim.blocks import BlockPool, Holding, block_hash, root_hash
from services.worker.engine.sim.sequence import Sequence


def kv_content(text: "array[int]", cache_salt: str, block_size_tokens: int, lora: str = "") -> bytes:
    """The simulated KV of a text: 8 bytes per block, each depending on all tokens up to the block's end.

    KV of another text, or of reused blocks, therefore never passes for the right one.
    """
    parent, content = root_hash(cache_salt, lora), bytearray()
    for start in range(0, len(text), block_size_tokens):
        parent = block_hash(parent, text[start : start + block_size_tokens])
        content += parent
    return bytes(content)


@dataclass(slots=True, eq=False)
class Offer:
    """One KV waiting for its new owner."""

    handoff_id: str
    holding: Holding
    content: bytes
    expires_ms: float
    being_pulled: bool = False


class Offers:
    """All offers of one engine. Each ends in exactly one `HandoffReleased`, found in `take_released`."""

    def __init__(self, pool: BlockPool, *, lease_ms: int, kv_block_size_bytes: int) -> None:
        self._pool = pool
        self._lease_ms = lease_ms
        self._kv_block_size_bytes = kv_block_size_bytes
        self._open: dict[str, Offer] = {}
        self._released: list[HandoffReleased] = []
        self.address: tuple[str, int] = ("", 0)
        """Where decode engines pull from."""

    def __len__(self) -> int:
        return len(self._open)

    def open(
        self,
        sequence: Sequence,
        first_token: "array[int]",
        now_ms: float,
        logprobs: TokenLogprobs | None = None,
    ) -> HandoffOffered:
        """Take over the blocks of a prefilled sequence, whose first token is not part of the KV."""
        prefilled = sequence.text[: sequence.length]
        job = sequence.job
        content = kv_content(prefilled, job.cache_salt, self._pool.block_size_tokens, job.lora)
        offer = Offer(secrets.token_hex(12), sequence.holding, content, now_ms + self._lease_ms)
        sequence.holding = Holding()
        self._open[offer.handoff_id] = offer
        host, port = self.address
        blocks = offer.holding.blocks
        return HandoffOffered(
            stream=sequence.stream,
            handoff_id=offer.handoff_id,
            connector_params=json.dumps(
                {"host": host, "port": port, "handoff_id": offer.handoff_id}
            ).encode(),
            kv_tokens=len(prefilled),
            kv_blocks=blocks,
            kv_size_bytes=blocks * self._kv_block_size_bytes,
            lease_ms=self._lease_ms,
            token_ids=first_token,
            cached_tokens=sequence.cached_tokens,
            logprobs=logprobs,
        )

    def find(self, handoff_id: str) -> Offer | None:
        """The open offer of that name."""
        return self._open.get(handoff_id)

    def settle(self, handoff_id: str, *, expired: bool = False) -> bool:
        """End an offer and free its blocks; False when it has ended before."""
        offer = self._open.pop(handoff_id, None)
        if offer is None:
            return False
        self._pool.free(offer.holding)
        self._released.append(HandoffReleased(handoff_id, expired))
        return True

    def expire(self, now_ms: float) -> bool:
        """Settle all whose lease is over; whether there were any. The oldest offer ends first."""
        over = []
        for offer in self._open.values():
            if offer.expires_ms > now_ms:
                break
            over.append(offer.handoff_id)
        for handoff_id in over:
            self.settle(handoff_id, expired=True)
        return bool(over)

    @property
    def next_expiry_ms(self) -> float | None:
        """When the oldest lease ends."""
        return next((offer.expires_ms for offer in self._open.values()), None)

    def take_released(self) -> list[HandoffReleased]:
        """Offers ended since the last call."""
        released, self._released = self._released, []
        return released
