"""An OpenAI-compatible engine without a model: bare asyncio, chat completions as server-sent events, paced.

python -m tests.bench.peers.engine --step-ms 20 [--lock-step]   prints its port, serves until SIGTERM

The first token leaves at once. Then each stream ticks by itself, a step after its own last token, or all of
them at the same moment, as the streams of an engine's batch do. Connections stay open, as proxies expect.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from typing import cast

import uvloop

from tests.bench.peers.peer import LOCAL, MODEL

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
HTTP2_PREFACE = b"PRI * HTTP/2.0"
MODELS = {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "vllm"}]}
PAGES = {
    "/v1/models": MODELS,
    "/version": {"version": "0.32.0"},
    "/get_model_info": {"model_path": MODEL, "is_generation": True},
    "/model_info": {"model_path": MODEL, "is_generation": True},
    "/server_info": {"model_path": MODEL, "served_model_name": MODEL},
    "/get_server_info": {"model_path": MODEL, "served_model_name": MODEL},
}
"""What peers ask an engine before they trust it; everything else is answered with an empty 200."""


def chunk(data: bytes) -> bytes:
    """One event as one HTTP chunk."""
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


def event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    """One `chat.completion.chunk` as vLLM writes it."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason, "token_ids": None}
    body = {
        "id": "chatcmpl-0123456789abcdef0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1_750_000_000,
        "model": MODEL,
        "choices": [choice],
    }
    return chunk(json.dumps(body, separators=(",", ":")).encode())


TOKENS = tuple(event({"content": f" w{number}"}) for number in range(1_000, 1_064))
"""Not one and the same: LiteLLM ends a stream that says the same a hundred times."""
BEGIN = STREAM_HEAD + event({"role": "assistant", "content": ""}) + TOKENS[0]
END = event({"content": ""}, "length") + chunk(b"[DONE]") + b"0\r\n\r\n"


class Pace:
    """When the streams get their tokens."""

    def __init__(self, step_ms: float, *, lock_step: bool) -> None:
        self._step_s, self._lock_step = step_ms / 1e3, lock_step
        self._live: dict[Callable[[], bool], None] = {}

    def begin(self, step: Callable[[], bool]) -> None:
        """Call `step` once per token until it says that there are no more."""
        if self._lock_step:
            self._live[step] = None
        else:
            loop = asyncio.get_running_loop()
            self._alone(step, loop.time() + self._step_s)

    def _alone(self, step: Callable[[], bool], at_s: float) -> None:
        def tick() -> None:
            if step():
                self._alone(step, at_s + self._step_s)

        asyncio.get_running_loop().call_at(at_s, tick)

    async def run(self) -> None:
        """Step all together, for ever."""
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            next_s = max(next_s + self._step_s, loop.time())
            await asyncio.sleep(next_s - loop.time())
            for step in list(self._live):
                if not step():
                    del self._live[step]


class Connection(asyncio.Protocol):
    """Requests one after another."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._received = b""
        self._left = 0
        self._is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End a stream whose reader has left."""
        self._is_open = False

    def data_received(self, data: bytes) -> None:
        """Answer each request once it is whole."""
        self._received += data
        if self._received.startswith(HTTP2_PREFACE):
            self._transport.close()  # who tries HTTP/2 first goes on with HTTP/1.1
            return
        while request := whole_request(self._received):
            path, body, self._received = request
            self._answer(path, body)

    def _answer(self, path: str, body: bytes) -> None:
        if path.endswith("/completions"):
            asked = json.loads(body)
            self._left = int(asked.get("max_tokens") or asked["max_completion_tokens"]) - 1
            self._transport.write(BEGIN if self._left else BEGIN + END)
            if self._left:
                self._pace.begin(self._step)
            return
        page = json.dumps(PAGES.get(path, {})).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % len(page) + page)

    def _step(self) -> bool:
        if not self._is_open:
            return False
        self._left -= 1
        token = TOKENS[self._left % len(TOKENS)]
        self._transport.write(token if self._left else token + END)
        return self._left > 0


def whole_request(received: bytes) -> tuple[str, bytes, bytes] | None:
    """Path, body and what follows, of the first request that is there whole; None where none is."""
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        return None
    path, fields = head.split(b" ", 2)[1].decode("latin-1").partition("?")[0], head.lower()
    if b"transfer-encoding: chunked" in fields:
        whole = whole_chunks(rest)
        return (path, *whole) if whole else None
    length = int(fields.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
    return (path, rest[:length], rest[length:]) if len(rest) >= length else None


def whole_chunks(received: bytes) -> tuple[bytes, bytes] | None:
    """A chunked body and what follows it; None where it is not there whole."""
    body, rest = b"", received
    while True:
        size, end, rest = rest.partition(b"\r\n")
        length = int(size, 16) if end else 0
        if not end or len(rest) < length + 2:
            return None
        if not length:
            return body, rest[2:]
        body, rest = body + rest[:length], rest[length + 2 :]


async def serve(step_ms: float, *, lock_step: bool) -> None:
    """Serve until the process ends."""
    pace = Pace(step_ms, lock_step=lock_step)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(pace), LOCAL, 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await pace.run()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step-ms", type=float, required=True)
    parser.add_argument("--lock-step", action="store_true")
    asked = parser.parse_args()
    uvloop.run(serve(asked.step_ms, lock_step=asked.lock_step))
    return 0


if __name__ == "__main__":
    sys.exit(main())
