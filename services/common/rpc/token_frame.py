"""What most frames of a long stream are: one token for each of some streams, and nothing else."""

import struct
from array import array
from typing import NamedTuple

from services.common.domain import TokenColumns
from services.common.domain.tokens import from_bytes, to_bytes
from services.common.errors import ProtocolViolation

_NUMBERS = struct.Struct("!QQ")


class TokenFrame(NamedTuple):
    """One token for each stream, without logprobs. Instead of a message, where a lane's both ends know it.

    Written as both numbers (eight bytes each, big endian), the column of streams, and that of token ids.
    """

    sequence: int
    acknowledged: int
    streams: "array[int]"
    token_ids: "array[int]"

    @classmethod
    def decode(cls, body: bytes) -> "TokenFrame":
        """Read one; raises ProtocolViolation when the columns cannot be as long as each other."""
        numbers_bytes = _NUMBERS.size
        middle = (numbers_bytes + len(body)) // 2
        if middle < numbers_bytes or len(body) % 8:
            raise ProtocolViolation(f"a token frame of {len(body)} bytes")
        columns = from_bytes(body[numbers_bytes:middle]), from_bytes(body[middle:])
        # Not `cls(...)`, which is a call more, for each of the most frequent frames.
        return tuple.__new__(cls, _NUMBERS.unpack_from(body) + columns)

    def encode(self) -> bytes:
        """Write it."""
        numbers = _NUMBERS.pack(self.sequence, self.acknowledged)
        return numbers + to_bytes(self.streams) + to_bytes(self.token_ids)

    def columns(self) -> TokenColumns:
        """The tokens as any step's."""
        return TokenColumns.one_each(self.streams, self.token_ids)
