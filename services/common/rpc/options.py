"""gRPC channel arguments, the same for both ends of every internal stream."""

from services.common.descriptors import share
from services.common.limits import Limits


def transport_options(limits: Limits) -> list[tuple[str, int]]:
    """Arguments that make a dead peer and a stalled reader show early.

    Without `bdp_probe=0` a stalled reader takes in megabytes before the writer blocks; without
    `ping_timeout_ms` a stopped process goes unnoticed for as long as TCP retransmits.
    """
    return [
        ("grpc.max_receive_message_length", limits.frame_size_bytes_max),
        ("grpc.max_send_message_length", limits.frame_size_bytes_max),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.keepalive_time_ms", 1_000),
        ("grpc.keepalive_timeout_ms", limits.heartbeat_timeout_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.ping_timeout_ms", limits.heartbeat_timeout_ms),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ]


def server_options(limits: Limits, *, reuse_port: bool) -> list[tuple[str, int]]:
    """Those of a server: besides, it takes no more connections than this process has descriptors for.

    Without `so_reuseport=0` two processes would share a port silently.
    """
    return [
        *transport_options(limits),
        ("grpc.so_reuseport", int(reuse_port)),
        ("grpc.max_allowed_incoming_connections", share(limits.lanes_max)),
    ]


def client_options(limits: Limits) -> list[tuple[str, int | str]]:
    """Those of a client: besides, it tries again soon, and gives each attempt time.

    Reconnecting is the caller's business (a lost `Link` is opened anew), so gRPC's own back-off is short.
    What gRPC calls the least back-off is how long it lets one attempt take.
    """
    return [
        *transport_options(limits),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", limits.heartbeat_timeout_ms),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]
