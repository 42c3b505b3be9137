"""The address of this host at which other workers take KV over.

It is what `--handoff-host` says, else what `--host` says where that is one address, else the local address of
the route to a router: what can be reached from there can be reached by the workers that are there.
"""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable

from services.common.domain.address import split_address
from services.common.errors import BadSetting
from services.worker.settings import WorkerSettings

log = logging.getLogger("pdmesh.worker")

Ask = Callable[[str, int], Awaitable[str]]
"""The local address of the route to a host and port; raises OSError where there is none."""
LOOKS_MAX = 30
"""How often all routers are looked up before loopback will do, where some of them cannot be found."""
LOOK_AGAIN_S = 1.0
SAY_AGAIN_LOOKS = 30
"""How many looks are between two lines in the log."""
REMEDY = "set --handoff-host to the address of this host that other workers can reach"


async def handoff_host(settings: WorkerSettings, ask: Ask | None = None) -> str:
    """An IP address of this host. Waits while no router's name leads anywhere; raises `BadSetting`."""
    ask = ask or _local_address
    if settings.handoff_host:
        return await _own(settings.handoff_host)
    if (listening := await _own_or_none(settings.host)) is not None:
        return listening
    looks = 0
    while True:
        looks += 1
        found, missing = await _routes(settings.router_addresses, ask)
        chosen = _best(found, may_be_loopback=not missing or looks >= LOOKS_MAX)
        if chosen is not None:
            return chosen
        if found and not missing and not any(map(_is_loopback, found)):
            raise BadSetting(f"the route to the router has only the link-local address {found[0]}: {REMEDY}")
        if looks % SAY_AGAIN_LOOKS == 1:
            log.warning("no route to %s; the model is loaded once there is one, or %s", missing, REMEDY)
        await asyncio.sleep(LOOK_AGAIN_S)


async def _routes(addresses: tuple[str, ...], ask: Ask) -> tuple[list[str], list[str]]:
    """Local addresses, and the routers to which there is no way."""
    found, missing = [], []
    for address in addresses:
        try:
            found.append(await ask(*split_address(address)))
        except OSError:
            missing.append(address)
    return found, missing


def _best(found: list[str], *, may_be_loopback: bool) -> str | None:
    """A router on this host has workers on others too, so loopback comes last."""
    usable = [address for address in found if not _is_link_local(address)]
    away = [address for address in usable if not _is_loopback(address)]
    return next(iter(away or (usable if may_be_loopback else ())), None)


async def _local_address(host: str, port: int) -> str:
    """Connects a UDP socket, which sends nothing."""
    failure: OSError | None = None
    loop = asyncio.get_running_loop()
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(address)
                return str(probe.getsockname()[0])
        except OSError as error:
            failure = error
    raise failure or OSError(f"{host} has no address")


async def _own_or_none(host: str) -> str | None:
    """What `--host` says, where it is one address that others can reach."""
    try:
        address = await _own(host)
    except BadSetting:
        return None  # where it cannot be listened on, that is said with the port
    return None if _is_loopback(address) or _is_link_local(address) else address


async def _own(host: str) -> str:
    """The first address of a name that is this host's own; raises `BadSetting`."""
    loop = asyncio.get_running_loop()
    try:
        named = await loop.getaddrinfo(host.strip("[]") or "0.0.0.0", 0, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise BadSetting(f"--handoff-host: {host!r} cannot be looked up: {error.strerror}") from None
    for family, kind, protocol, _, address in named:
        if ipaddress.ip_address(str(address[0]).partition("%")[0]).is_unspecified:
            raise BadSetting(f"--handoff-host: {host!r} is every address; name one that others can reach")
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.bind(address)
            except OSError:
                continue
            return str(address[0])
    raise BadSetting(f"--handoff-host: {host!r} is no address of this host")


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _is_link_local(address: str) -> bool:
    """IPv6 only: those of IPv4 need no name of a device."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return parsed.version == 6 and parsed.is_link_local
