"""A raw HTTP client for tests: bytes out, parsed responses in."""

import asyncio
import socket
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass
class RawResponse:
    """One response as it came."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class RawClient:
    """One connection; `receive_buffer_bytes` makes a client that fills up soon."""

    open_clients: ClassVar[set["RawClient"]] = set()

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.open_clients.add(self)

    @classmethod
    async def connect(cls, port: int, receive_buffer_bytes: int = 0) -> "RawClient":
        """Connect to a local port."""
        sock = socket.socket()
        if receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        return cls(*await asyncio.open_connection(sock=sock, limit=receive_buffer_bytes or 2**16))

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    async def response(self, *, has_body: bool = True) -> RawResponse:
        """The next response, whole."""
        response = await self.head()
        if has_body and response.headers.get("transfer-encoding") == "chunked":
            response.body = b"".join([chunk async for chunk in self.chunks()])
        elif has_body and "content-length" in response.headers:
            response.body = await self.reader.readexactly(int(response.headers["content-length"]))
        elif has_body and response.status >= 200:
            response.body = await self.reader.read()
        return response

    async def head(self) -> RawResponse:
        """The next response's status and headers."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        return RawResponse(int(lines[0].split()[1]), {name.lower(): value for name, value in pairs})

    async def chunks(self):
        """The chunks of a chunked body, one by one."""
        while size := int(await self.reader.readline(), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)

    async def is_closed(self) -> bool:
        """Whether the server closes without another byte."""
        return await self.reader.read(1) == b""

    async def close(self) -> None:
        """Close the connection."""
        self.open_clients.discard(self)
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A POST request's bytes."""
    lines = [f"POST {path} HTTP/1.1", "host: t", "content-type: application/json", *headers]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def get(path: str, *headers: str) -> bytes:
    """A GET request's bytes."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "host: t", *headers, "", ""]).encode()
