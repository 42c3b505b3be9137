"""Why KV did not come from a prefill worker, and what to do: one line, which `pdmesh doctor` shows."""

import errno
import ipaddress

from services.common.domain.address import join_address

_SET = "set --handoff-host of the prefill worker to an address that other hosts reach"
_NO_WAY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)


def unreachable(host: str, port: int, error: OSError) -> str:
    """The address at which KV is handed over does not answer."""
    address = join_address(host, port)
    if _is_loopback(host):
        return (
            f"address: {address} is loopback, which only the prefill worker's own host reaches; start it "
            "with --routers set to the router's address and not to loopback, or with --handoff-host"
        )
    if isinstance(error, ConnectionRefusedError):
        return f"address: {address} refuses connections, so it is another host's or another process's; {_SET}"
    if error.errno in _NO_WAY:
        return f"address: there is no route to {address}; {_SET}"
    if isinstance(error, TimeoutError):
        return (
            f"firewall: {address} does not answer; let TCP to this port through (--side-channel-port fixes "
            f"vLLM's), or {_SET}"
        )
    return f"address: {address} cannot be reached ({error.strerror or error}); {_SET}"


def stuck(address: str, waited_s: float) -> str:
    """The prefill worker answers, and its KV does not come."""
    return (
        f"firewall: {address} answers, and its KV did not come within {waited_s:.0f} s; let the transport's "
        "own TCP ports through too (UCX_TCP_PORT_RANGE fixes them), or set UCX_NET_DEVICES to a device that "
        "both hosts share"
    )


def unfit(detail: str) -> str:
    """Both sides answer, and what they are does not fit together."""
    return f"build: {detail}; start both workers with the same vLLM, model, types and block size"


def transport_failed(detail: str) -> str:
    """The transport itself gives up."""
    return (
        f"transport: {detail}; give both workers a --handoff-host on the same network, or set "
        "UCX_NET_DEVICES on both to a device that their hosts share; leave UCX_TLS unset"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
