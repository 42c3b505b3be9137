"""A small streaming HTTP client on bare sockets: it notes when each piece arrived."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

DONE = b"[DONE]"


class ConnectionCut(Exception):
    """The server closed the connection before the answer's end."""


@dataclass
class Answer:
    """One streamed answer as the client saw it."""

    status: int = 0
    text: str = ""
    finish_reason: str = ""
    receipt: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)
    is_done: bool = False
    """Whether `[DONE]` came."""
    began_s: float = 0.0
    arrivals_s: list[float] = field(default_factory=list)
    """When each piece of text came."""

    def take(self, event: dict[str, Any]) -> None:
        """Note one event's content."""
        self.error = event.get("error") or self.error
        self.receipt = event.get("pdmesh") or self.receipt
        for choice in event.get("choices", ()):
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            if text := choice.get("text") or choice.get("delta", {}).get("content"):
                self.text += text
                self.arrivals_s.append(perf_counter())


async def stream(url: str, body: dict[str, Any], answer: Answer | None = None) -> Answer:
    """POST and read the whole answer; raises `ConnectionCut`. `answer` may be watched meanwhile."""
    answer = answer or Answer()
    answer.began_s = perf_counter()
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 20)
    try:
        writer.write(request_bytes(parts.netloc, parts.path, body))
        answer.status, headers = await read_head(reader)
        if answer.status != 200:
            answer.take(json.loads(b"".join([part async for part in body_parts(reader, headers)])))
            return answer
        async for data in events(body_parts(reader, headers)):
            if data == DONE:
                answer.is_done = True
            else:
                answer.take(json.loads(data))
    except (asyncio.IncompleteReadError, OSError) as error:
        raise ConnectionCut(str(error)) from error
    finally:
        writer.close()
    return answer


def request_bytes(host: str, path: str, body: dict[str, Any]) -> bytes:
    """A POST with a JSON body."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers, names in lower case."""
    first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    pairs = (line.partition(":") for line in rest)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}


async def body_parts(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """The body, chunk by chunk; a body that is cut short raises IncompleteReadError."""
    if headers.get("transfer-encoding") != "chunked":
        yield await reader.readexactly(int(headers["content-length"]))
        return
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)


async def events(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each server-sent event."""
    rest = b""
    async for part in parts:
        *whole, rest = (rest + part).split(b"\n\n")
        for event in whole:
            if event.startswith(b"data: "):
                yield event[len(b"data: ") :]
