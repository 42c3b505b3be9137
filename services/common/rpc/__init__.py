"""All that the services share about gRPC: servers, channels, links, frames, statuses.

`Link` runs one long-lived stream between two processes; a `Draft` is what waits to be sent on it.
"""

from services.common.rpc.channel import open_channel
from services.common.rpc.head import send_head
from services.common.rpc.link import Draft, Link, LinkLost
from services.common.rpc.server import RpcServer
from services.common.rpc.status import abort_with, error_from_rpc

__all__ = [
    "Draft",
    "Link",
    "LinkLost",
    "RpcServer",
    "abort_with",
    "error_from_rpc",
    "open_channel",
    "send_head",
]
