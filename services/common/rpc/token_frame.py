"""What most frames of a long stream are: one token for each of some streams, and nothing else."""

import struct
from array import array

from services.common.domain import TokenColumns
from services.common.domain.tokens import from_bytes, to_bytes, tokens
from services.common.errors import ProtocolViolation

_NUMBERS = struct.Struct("!QQ")


class TokenFrame:
    """One token for each stream, without logprobs. Instead of a message, where a lane's both ends know it.

    Written as both numbers (eight bytes each, big endian), the column of streams, and that of token ids.
    """

    __slots__ = ("acknowledged", "sequence", "streams", "token_ids")

    def __init__(
        self, sequence: int, acknowledged: int, streams: "array[int]", token_ids: "array[int]"
    ) -> None:
        self.sequence, self.acknowledged = sequence, acknowledged
        self.streams, self.token_ids = streams, token_ids

    @classmethod
    def decode(cls, body: bytes) -> "TokenFrame":
        """Read one; raises ProtocolViolation when the columns cannot be as long as each other."""
        half = (len(body) - _NUMBERS.size) // 2
        if half < 0 or len(body) != _NUMBERS.size + 2 * half or half % 4:
            raise ProtocolViolation(f"a token frame of {len(body)} bytes")
        sequence, acknowledged = _NUMBERS.unpack_from(body)
        middle = _NUMBERS.size + half
        return cls(
            sequence, acknowledged, from_bytes(body[_NUMBERS.size : middle]), from_bytes(body[middle:])
        )

    def encode(self) -> bytes:
        """Write it."""
        numbers = _NUMBERS.pack(self.sequence, self.acknowledged)
        return numbers + to_bytes(self.streams) + to_bytes(self.token_ids)

    def columns(self) -> TokenColumns:
        """The tokens as any step's."""
        return TokenColumns(self.streams, tokens([1]) * len(self.streams), self.token_ids)
