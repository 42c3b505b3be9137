"""A real Redis on a free port."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest


class RedisServer:
    """One server, which can be killed and started again, empty, on the same port."""

    def __init__(
        self, program: str, host: str, port: int, options: Sequence[str], *, is_store: bool, is_tls: bool
    ) -> None:
        self.host, self.port = host, port or free_port(host)
        first = options[:1] if options and not options[0].startswith("--") else ()  # a configuration file
        listens = ("--port", "0", "--tls-port", str(self.port)) if is_tls else ("--port", str(self.port))
        keeps = ("--save", "", "--appendonly", "no") if is_store else ()
        rest = options[len(first) :]
        self._command = [program, *first, *listens, "--bind", host, *keeps, *rest]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://{self.host}:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        _wait_listening(self.host, self.port)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it without a farewell; again does nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def redis_server(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    options: Sequence[str] = (),
    is_store: bool = True,
    is_tls: bool = False,
) -> Iterator[RedisServer]:
    """A running server; skips the test where Debian's redis-server is not installed. Port 0 is a free one."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(program, host, port, options, is_store=is_store, is_tls=is_tls)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def running_redis() -> Iterator[str]:
    """The address of a running server; skips the test where Debian's redis-server is not installed."""
    with redis_server() as server:
        yield server.url


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _wait_listening(host: str, port: int) -> None:
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(0.01)
    raise TimeoutError("redis-server did not start in 5 s")
