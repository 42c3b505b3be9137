"""What a worker is called when nobody names it."""

import os
import secrets
import socket


def made_up_worker_id() -> str:
    """Host, process and a random part, so that a restarted worker is never taken for its predecessor."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def reachable_address(host: str, port: int) -> str:
    """The address that others should use for a server that listens on `host`."""
    everywhere = host in ("", "0.0.0.0", "::", "[::]")
    return f"{socket.gethostname() if everywhere else host}:{port}"
