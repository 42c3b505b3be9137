"""The network as NIXL and UCX are to see it: one address of this host, and the devices behind it."""

import ipaddress
import os
import socket
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.common.domain.address import join_address
from services.common.errors import EngineStartFailed
from services.worker.engine.interface import LOOPBACK
from services.worker.engine.vllm import ucx

PORTS_MIN, PORTS_SPAN, PORTS_END = 20_000, 10_000, 32_768
"""Where free ports are looked for: below the ephemeral ones."""


def prepare_environment(handoff_host: str, port: int, name: str = "") -> str:
    """Set what vLLM and UCX read at their start; returns HOST:PORT of the side channel.

    A worker that is started again under its `name` gets the port that it had, if that is free: its peers then
    notice at once that it is another engine, and let go of the old one.

    The operator's own variables win, except for the port. VLLM_HOST_IP stays on loopback: by it the ranks of
    one worker find each other, and no other worker does.
    """
    os.environ.setdefault("VLLM_NIXL_SIDE_CHANNEL_HOST", os.environ.get("VLLM_HOST_IP") or handoff_host)
    os.environ.setdefault("VLLM_HOST_IP", LOOPBACK)
    host = os.environ["VLLM_NIXL_SIDE_CHANNEL_HOST"]
    port = port or free_port(host, name)
    os.environ["VLLM_NIXL_SIDE_CHANNEL_PORT"] = str(port)
    devices = devices_for(host)
    if devices:
        os.environ.setdefault("UCX_NET_DEVICES", devices)
    ucx.prepare_environment()
    return join_address(host, port)


def devices_for(
    host: str, devices: Mapping[str, Sequence[str]] | None = None, sys_class: Path = Path("/sys/class")
) -> str:
    """What UCX is to use for traffic with this address of the host; "" leaves the choice to UCX.

    UCX takes whatever device seems fastest, also one that leads nowhere, such as a container bridge that has
    the same address on every host. So over TCP it is told the one device that has the address. Where there is
    RDMA, UCX chooses among those devices by itself. `devices` are this host's with their addresses.
    """
    if _is_loopback(host):
        return "lo"
    if any((sys_class / "infiniband").glob("*")):
        return ""
    listed = _devices() if devices is None else devices
    return next((name for name, addresses in listed.items() if host in addresses), "")


def _devices() -> dict[str, list[str]]:
    import psutil  # type: ignore[import-untyped]  # one of vLLM's own requirements

    return {name: [a.address for a in addresses] for name, addresses in psutil.net_if_addrs().items()}


def free_port(host: str, name: str = "") -> int:
    """A port of the address on which nobody listens, where possible the same for the same name."""
    family = socket.getaddrinfo(host, None)[0][0]
    first = zlib.crc32(name.encode()) if name else os.getpid()
    for port in range(PORTS_MIN + first % PORTS_SPAN, PORTS_END):
        with socket.socket(family) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise EngineStartFailed(f"no free port for NIXL's side channel on {host} below {PORTS_END}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # the operator may have given a name
        return False
