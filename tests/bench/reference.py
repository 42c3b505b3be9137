"""The reference: the least that Python can do to serve paced token streams, on one bare asyncio protocol.

python -m tests.bench.reference --step-ms 20   prints its port, serves until SIGTERM

No gRPC, no worker, no tokenizer, no checks: it reads a request, writes the first token at once, then one
server-sent event per stream and step. What a mesh costs is told as a multiple of this.
"""

import argparse
import asyncio
import json
import sys
from typing import cast

import uvloop

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One event as one HTTP chunk."""
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


TOKEN = chunk(json.dumps({"choices": [{"index": 0, "text": " w1234"}]}).encode())
END = (
    chunk(b'{"choices": [{"index": 0, "text": "", "finish_reason": "length"}]}')
    + chunk(b"[DONE]")
    + b"0\r\n\r\n"
)


class Connection(asyncio.Protocol):
    """One request per connection."""

    def __init__(self, live: "dict[Connection, int]") -> None:
        self._live = live
        self._received = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Begin once the body is whole."""
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if length and len(body) >= length:
            assert self.transport is not None
            self.transport.write(HEAD + TOKEN)
            self._live[self] = int(json.loads(body)["max_tokens"]) - 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._live.pop(self, None)


async def serve(step_ms: float) -> None:
    """Step all streams together, as a batching engine does."""
    live: dict[Connection, int] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(live), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    next_s = loop.time()
    while True:
        next_s += step_ms / 1e3
        await asyncio.sleep(max(0.0, next_s - loop.time()))
        for connection in list(live):
            step(connection, live)


def step(connection: Connection, live: dict[Connection, int]) -> None:
    """One token for one stream."""
    assert connection.transport is not None
    connection.transport.write(TOKEN)
    live[connection] -= 1
    if not live[connection]:
        connection.transport.write(END)
        del live[connection]


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step-ms", type=float, required=True)
    uvloop.run(serve(parser.parse_args().step_ms))
    return 0


if __name__ == "__main__":
    sys.exit(main())
