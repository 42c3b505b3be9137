"""Free TCP ports on this host."""

import random
import socket
from collections.abc import Generator
from contextlib import ExitStack

from services.common.errors import PortInUse

FIRST, LAST = 20_000, 32_767
"""Below Linux's ephemeral ports, where an outgoing connection could take a listener's place."""


def free_ports(rng: random.Random, host: str = "127.0.0.1") -> Generator[int, None, None]:
    """Ports that nobody listens on, each once, in random order; raises `PortInUse` when all are used up.

    No other such iterator on this host gives them while this one lives: two meshes may start at once, and a
    port is free until a process that has been given it listens.
    """
    candidates = list(range(FIRST, LAST + 1))
    rng.shuffle(candidates)
    with ExitStack() as claims:
        for port in candidates:
            claim = _claim(port)
            if claim is not None and _is_free(host, port):
                claims.enter_context(claim)
                yield port
            elif claim is not None:
                claim.close()
    raise PortInUse(f"no free port between {FIRST} and {LAST} on {host}")


def _claim(port: int) -> socket.socket | None:
    """A name that only one socket on this host can have; the kernel forgets it with the socket."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0pdmesh-port-{port}")
    except OSError:
        claim.close()
        return None
    return claim


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
