"""Connections to the gateways of one mesh."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from services.common.limits import DEFAULTS
from services.common.rpc.options import client_options
from services.common.version import VERSION

C = TypeVar("C")
"""grpc.Channel or grpc.aio.Channel."""


def channel_options() -> list[tuple[str, int | str]]:
    """gRPC channel arguments: a gateway that is gone shows within seconds, and connections are tried soon."""
    return [*client_options(DEFAULTS), ("grpc.primary_user_agent", f"pdmesh/{VERSION}")]


class Channels(Generic[C]):
    """One channel for each gateway, opened when first used; one of them is in use at a time."""

    def __init__(self, addresses: str | Sequence[str], open_channel: Callable[[str], C]) -> None:
        self._addresses = [addresses] if isinstance(addresses, str) else list(addresses)
        if not self._addresses:
            raise ValueError("a client needs the address of a gateway")
        self._open_channel = open_channel
        self._opened: dict[str, C] = {}
        self._turn = 0

    @property
    def current(self) -> C:
        """The channel to use."""
        address = self._addresses[self._turn % len(self._addresses)]
        if address not in self._opened:
            self._opened[address] = self._open_channel(address)
        return self._opened[address]

    def leave(self, channel: C) -> None:
        """Go on with the next gateway, unless another call has done so since."""
        if self.current is channel:
            self._turn += 1

    def take_all(self) -> list[C]:
        """All channels that were opened, for closing."""
        opened = list(self._opened.values())
        self._opened.clear()
        return opened


def metadata(api_key: str, extra: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """What goes out with every call."""
    return (*((("authorization", f"Bearer {api_key}"),) if api_key else ()), *extra)
