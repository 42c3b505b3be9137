"""Messages one after another in bytes: each with its length in front."""

from collections.abc import Iterator

from google.protobuf.message import Message

LENGTH_BYTES = 4


def framed(message: Message) -> bytes:
    """One message."""
    data = message.SerializeToString()
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def taken_from(buffer: bytearray) -> Iterator[bytes]:
    """Take the whole messages off the buffer's front."""
    while len(buffer) >= LENGTH_BYTES:
        end = LENGTH_BYTES + int.from_bytes(buffer[:LENGTH_BYTES], "big")
        if len(buffer) < end:
            return
        yield bytes(buffer[LENGTH_BYTES:end])
        del buffer[:end]
