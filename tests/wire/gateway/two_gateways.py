"""Two gateways before one scripted router, sharing a Redis; a third may be a process that can be killed."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tokenizers import Tokenizer

from services.cli.ports import free_ports
from services.gateway.settings import Settings
from tests.tidy.source import ROOT
from tests.wire.gateway.conftest import become_ready, running_gateway
from tests.wire.gateway.fake_router import FakeRouter, running_router


@dataclass
class Pair:
    """Both gateways."""

    router: FakeRouter
    router_port: int
    directory: Path
    store: str
    ports: tuple[int, int]
    tokenizer: Tokenizer

    def ids(self, text: str) -> list[int]:
        """Token ids of a text."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


@asynccontextmanager
async def running_pair(directory: Path, store: str, **settings: Any) -> AsyncIterator[Pair]:
    """Two gateways in this process, ready."""
    router = FakeRouter()
    async with running_router(router) as router_port:
        given = {"port": 0, "model": str(directory), "router": (f"127.0.0.1:{router_port}",)}
        both = Settings(**{**given, "store": store, "grace_ms": 200, **settings})
        async with running_gateway(both) as (first, _), running_gateway(both) as (second, _):
            ports = tuple(int(url.rsplit(":", 1)[1]) for url in (first, second))
            for port in ports:
                await become_ready(port)
            tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
            yield Pair(router, router_port, directory, store, ports, tokenizer)


@asynccontextmanager
async def running_process(pair: Pair, *flags: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A third gateway, as a process, and its port."""
    port = next(free_ports(Random()))
    program = (sys.executable, "-m", "services.cli", "serve", "gateway", "--port", str(port))
    told = (
        "--model",
        str(pair.directory),
        "--router",
        f"127.0.0.1:{pair.router_port}",
        "--store",
        pair.store,
    )
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *program, *told, *flags, cwd=ROOT, stdout=quiet, stderr=quiet
    )
    try:
        await _listening(process, port)
        await become_ready(port)
        yield process, port
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _listening(process: asyncio.subprocess.Process, port: int) -> None:
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            await writer.wait_closed()
            return
    raise RuntimeError(f"the gateway ended with {process.returncode}")
