"""Changes of vLLM's prefix cache, as its engine process publishes them over a local socket."""

from collections.abc import Callable
from typing import Any

from services.common.domain import KvChange
from services.common.domain.tokens import tokens

_HASH_MASK = (1 << 64) - 1


async def follow(endpoint: str, on_changes: Callable[[list[KvChange]], None]) -> None:
    """Report changes until cancelled, one call for each engine step that had some."""
    import msgspec
    import zmq
    import zmq.asyncio
    from vllm.distributed.kv_events import KVEventBatch

    decoder = msgspec.msgpack.Decoder(KVEventBatch)
    with zmq.asyncio.Context() as context, context.socket(zmq.SUB) as socket:
        socket.connect(endpoint)
        socket.subscribe(b"")
        while True:
            _topic, _sequence, payload = await socket.recv_multipart()
            changes = [change for event in decoder.decode(payload).events if (change := to_change(event))]
            if changes:
                on_changes(changes)


def to_change(event: Any) -> KvChange | None:
    """One vLLM event; None for other media and for the second and further groups of hybrid models."""
    if getattr(event, "medium", None) not in (None, "GPU") or getattr(event, "group_idx", None) not in (
        None,
        0,
    ):
        return None
    match type(event).__name__:
        case "AllBlocksCleared":
            return KvChange(cleared=True)
        case "BlockStored":
            return KvChange(
                stored_block_hashes=tuple(map(hash_bytes, event.block_hashes)),
                parent_block_hash=b""
                if event.parent_block_hash is None
                else hash_bytes(event.parent_block_hash),
                token_ids=tokens(event.token_ids),
                block_size_tokens=event.block_size,
                cache_salt=_cache_salt(event),
                lora=event.lora_name or "",
            )
        case "BlockRemoved":
            return KvChange(removed_block_hashes=tuple(map(hash_bytes, event.block_hashes)))
    return None


def _cache_salt(event: Any) -> str:
    """The salt is among the first block's extra keys: the only plain string but for the adapter's name."""
    keys = (event.extra_keys or [None])[0] or ()
    return next((key for key in keys if isinstance(key, str) and key != event.lora_name), "")


def hash_bytes(block_hash: int | bytes) -> bytes:
    """A block's hash as 8 bytes."""
    if isinstance(block_hash, bytes):
        return block_hash[-8:].rjust(8, b"\0")
    return (block_hash & _HASH_MASK).to_bytes(8, "little")
