"""A request's body while it arrives: every byte of it is counted."""

from services.common.errors import BodiesFull, BodyTooLarge, HeadersTooLarge
from services.gateway.shared_room import Holding

CHUNK_FRAME_BYTES_MAX = 32
"""What a chunk has around its bytes, if it has no extension: its length in hexadecimal, and line ends."""
RETRY_AFTER_MS = 1_000


class BodyBuffer:
    """Collects one body, within its own bound and within what all bodies share."""

    __slots__ = (
        "_chunk_count",
        "_data",
        "_framing_bytes",
        "_framing_bytes_max",
        "_size_bytes_max",
        "holding",
    )

    def __init__(self, holding: Holding, size_bytes_max: int, framing_bytes_max: int) -> None:
        """`framing_bytes_max` is what chunk extensions and trailers may have together."""
        self.holding = holding
        self._data = bytearray()
        self._size_bytes_max = size_bytes_max
        self._framing_bytes_max = framing_bytes_max
        self._framing_bytes = 0
        self._chunk_count = 0

    def __len__(self) -> int:
        return len(self._data)

    def check_declared(self, digits: str) -> None:
        """Raise `BodyTooLarge` for a Content-Length over the bound."""
        if len(digits) > len(str(self._size_bytes_max)) or int(digits or "0") > self._size_bytes_max:
            self._refuse_size()

    def add(self, part: bytes) -> None:
        """Take a part; raises `BodyTooLarge`, or `BodiesFull` where all bodies together are too many."""
        if len(self._data) + len(part) > self._size_bytes_max:
            self._refuse_size()
        if not self.holding.grow(len(part)):
            raise BodiesFull(
                "this gateway holds as many request bodies as it may", retry_after_ms=RETRY_AFTER_MS
            )
        self._data += part

    def count_chunk(self) -> None:
        """Take notice that a chunk has begun."""
        self._chunk_count += 1

    def count_framing(self, size_bytes: int) -> None:
        """Count bytes that were no part of the body: chunk lengths, extensions and trailers.

        Raises `HeadersTooLarge`.
        """
        self._framing_bytes += size_bytes
        if self._framing_bytes > self._framing_bytes_max + CHUNK_FRAME_BYTES_MAX * self._chunk_count:
            raise HeadersTooLarge(f"chunk extensions and trailers are over {self._framing_bytes_max} bytes")

    def take(self) -> bytes:
        """The whole body; what it holds of the room is the request's from here on."""
        data = bytes(self._data)
        self._data = bytearray()
        return data

    def _refuse_size(self) -> None:
        raise BodyTooLarge(f"the body is over {self._size_bytes_max} bytes")
