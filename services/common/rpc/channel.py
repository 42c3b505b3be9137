"""Client channels."""

import grpc.aio

from services.common.limits import DEFAULTS, Limits
from services.common.rpc.options import transport_options


def open_channel(address: str, limits: Limits = DEFAULTS) -> grpc.aio.Channel:
    """A channel to `HOST:PORT` with connections of its own; it connects when first used.

    Reconnecting is the caller's business (a lost `Link` is opened anew), so gRPC's own back-off is short.
    """
    options = [
        *transport_options(limits),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]
    return grpc.aio.insecure_channel(address, options=options)
