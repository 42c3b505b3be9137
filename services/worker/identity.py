"""What a worker is called, and where it is found."""

import os
import secrets
import socket

from services.common.domain.address import join_address
from services.common.errors import PortInUse


def made_up_worker_id() -> str:
    """Host, process and a random part, so that a restarted worker is never taken for its predecessor."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def reachable_address(host: str, port: int) -> str:
    """The address that others should use for a server that listens on `host`."""
    everywhere = host in ("", "0.0.0.0", "::", "[::]")
    return join_address(socket.gethostname() if everywhere else host, port)


def require_free(host: str, port: int) -> None:
    """Raise `PortInUse` when nobody could listen there now; port 0 is always free."""
    family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[
        0
    ]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise PortInUse(f"cannot listen on {host}:{port}: {error.strerror}") from error
