"""Free TCP ports on this host."""

import random
import socket
from collections.abc import Iterator

from services.common.errors import PortInUse

FIRST, LAST = 20_000, 32_767
"""Below Linux's ephemeral ports, where an outgoing connection could take a listener's place."""


def free_ports(rng: random.Random, host: str = "127.0.0.1") -> Iterator[int]:
    """Ports that nobody listens on, each once, in random order, so that two meshes starting at once rarely
    meet; raises `PortInUse` when the range is used up.
    """
    candidates = list(range(FIRST, LAST + 1))
    rng.shuffle(candidates)
    for port in candidates:
        if _is_free(host, port):
            yield port
    raise PortInUse(f"no free port between {FIRST} and {LAST} on {host}")


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
