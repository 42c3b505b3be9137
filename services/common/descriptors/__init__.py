"""Open files of this process: as many as it may have, and some of them kept for itself."""

import asyncio
import logging
import resource
import socket

from services.common.limits import DEFAULTS

RESERVE_SHARE_MAX = 0.25
"""Of a small limit no more than this is kept."""
PORT_SHARE = 0.25
"""Of all descriptors, for one port that does not know of the reserve."""

_log = logging.getLogger("pdmesh.process")


def raise_limit() -> None:
    """Allow as many open files as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (
        DEFAULTS.descriptors_max if hard == resource.RLIM_INFINITY else min(hard, DEFAULTS.descriptors_max)
    )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            _log.warning("open files stay limited to %d: %s", soft, error)


def is_reserved(transport: asyncio.BaseTransport) -> bool:
    """Whether a new connection's descriptor is among the last ones, which files, stores and peers need."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    return connection is not None and is_high(connection.fileno())


def is_high(descriptor: int) -> bool:
    """The same of a descriptor: the system gives the lowest free one, so that it says how many are open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and descriptor >= soft - _reserve(soft)


def share(connections: int) -> int:
    """So many connections, or as many as one of several ports may have here if that is less.

    For servers that accept connections by themselves, and cannot be told of the reserve.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections if soft == resource.RLIM_INFINITY else min(connections, int(soft * PORT_SHARE))


def _reserve(limit: int) -> int:
    return min(DEFAULTS.descriptors_reserved, int(limit * RESERVE_SHARE_MAX))
