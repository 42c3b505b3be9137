"""One run of a client's own command line, which is to reach nothing but this machine."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

RUN_S_MAX = 120


@dataclass(frozen=True)
class Ran:
    """What a program said."""

    code: int
    output: str
    errors: str


@dataclass
class Outside:
    """A proxy that every way out leads to; it lets nothing through and notes who is asked for."""

    url: str = ""
    knocks: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Outside"]:
        """Serve while the block runs."""

        async def knock(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.knocks.append((await reader.readline()).decode())
            writer.close()

        async with await asyncio.start_server(knock, "127.0.0.1", 0) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self


async def run(
    command: Sequence[str], directory: Path, environment: Mapping[str, str], outside: Outside
) -> Ran:
    """Run a program to its end, in an environment without anything of the caller's own but the path."""
    home = directory / "home"
    home.mkdir(exist_ok=True)
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), outside.url)
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            **proxies,
            **environment,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RUN_S_MAX):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ran(process.returncode, output.decode(), errors.decode())
