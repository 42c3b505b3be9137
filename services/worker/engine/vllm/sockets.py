"""The socket on which vLLM's engine process tells of its prefix cache."""

import os
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

PREFIX = "pdmesh-kv-"


def kv_events_endpoint(directory: str = "") -> str:
    """A new address, named by this process; sockets of processes that were killed are removed."""
    place = Path(directory or tempfile.gettempdir())
    for left in place.glob(f"{PREFIX}*-*"):
        owner = left.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not _is_alive(int(owner)):
            with suppress(OSError):  # another worker has just removed it, or it is another user's
                left.unlink()
    return f"ipc://{place}/{PREFIX}{os.getpid()}-{uuid.uuid4().hex}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
