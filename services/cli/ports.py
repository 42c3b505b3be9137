"""Free TCP ports on this host."""

import random
import socket
from collections import deque
from collections.abc import Generator

from services.common.errors import PortInUse

FIRST, LAST = 20_000, 32_767
"""Below Linux's ephemeral ports, where an outgoing connection could take a listener's place."""

CLAIMS_MAX = 256
"""Ports kept from others: of all that are given out only the newest may still wait for their listener."""


def free_ports(rng: random.Random, host: str = "127.0.0.1") -> Generator[int, None, None]:
    """Ports that nobody listens on, in random order, for as long as there are any; raises `PortInUse` when
    there is none.

    No other such iterator on this host gives the newest ones of this: two meshes may start at once, and a
    port is free until a process that has been given it listens.
    """
    candidates = list(range(FIRST, LAST + 1))
    claims: deque[socket.socket] = deque()
    try:
        while True:
            rng.shuffle(candidates)
            free = 0
            for port in candidates:
                claim = _claim(port)
                if claim is None:
                    continue
                if not _is_free(host, port):
                    claim.close()
                    continue
                free += 1
                claims.append(claim)
                yield port
                if len(claims) > CLAIMS_MAX:
                    claims.popleft().close()
            if not free:
                raise PortInUse(f"no free port between {FIRST} and {LAST} on {host}")
    finally:
        for claim in claims:
            claim.close()


def _claim(port: int) -> socket.socket | None:
    """A name that only one socket on this host can have; the kernel forgets it with the socket."""
    try:
        claim = socket.socket(socket.AF_UNIX)
    except OSError:  # there are as many open files as there may be
        return None
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
