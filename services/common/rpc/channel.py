"""Client channels."""

import grpc.aio

from services.common.credentials import OPEN, Security
from services.common.limits import DEFAULTS, Limits
from services.common.rpc.options import client_options
from services.common.rpc.tls import channel_credentials


def open_channel(address: str, limits: Limits = DEFAULTS, security: Security = OPEN) -> grpc.aio.Channel:
    """A channel to `HOST:PORT` with connections of its own; it connects when first used.

    With a CA it uses TLS, and raises `BadSetting` when the certificates cannot be read. The mesh's secret is
    not the channel's to send: each call takes `metadata=security.metadata`.
    """
    options = [*client_options(limits), ("grpc.use_local_subchannel_pool", 1)]
    if not security.tls_ca:
        return grpc.aio.insecure_channel(address, options=options)
    if security.tls_name:
        options.append(("grpc.ssl_target_name_override", security.tls_name))
    return grpc.aio.secure_channel(address, channel_credentials(security), options=options)
