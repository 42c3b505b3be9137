"""How long a client has taken nothing of what is written to it, as the kernel knows it."""

import asyncio
import fcntl
import socket
import struct
import termios

_COUNT = struct.Struct("=i")
_INFO = struct.Struct("=120x Q")
"""Of Linux's `struct tcp_info`: tcpi_bytes_acked."""


def untaken_bytes(connection: socket.socket) -> int:
    """What the kernel holds because the client's side has not acknowledged it. Raises OSError, ValueError."""
    return int(_COUNT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(_COUNT.size)))[0])


def taken_bytes(connection: socket.socket) -> int:
    """What the client's side has acknowledged since the connection began.

    Raises OSError where there is no TCP, AttributeError and struct.error where the system does not tell.
    """
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    return int(_INFO.unpack(info)[0])


class Stall:
    """Watches one connection; asked about once a second, it needs no place in the path of a token.

    A client that reads nothing shows here once its own kernel is full. A transport says so only after this
    side's kernel is full too, which at the pace of one answer may take minutes. Where the system does not
    tell what is taken, there is never a stall here, and the transport's word alone counts.
    """

    __slots__ = ("_connection", "_since_ms", "_taken_bytes")

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._connection: socket.socket | None = transport.get_extra_info("socket")
        self._taken_bytes = 0
        self._since_ms: float | None = None

    def lasts_ms(self, now_ms: float) -> float:
        """Time since the client was last seen to take anything; 0.0 while nothing waits for it."""
        taken = self._taken_while_more_waits()
        if taken is None:
            self._since_ms = None
        elif self._since_ms is None or taken != self._taken_bytes:
            self._since_ms, self._taken_bytes = now_ms, taken
        return 0.0 if self._since_ms is None else now_ms - self._since_ms

    def _taken_while_more_waits(self) -> int | None:
        connection = self._connection
        try:
            if connection is None or not untaken_bytes(connection):
                return None
            return taken_bytes(connection)
        except (AttributeError, OSError, ValueError, struct.error):
            return None
