"""Where a worker says that KV can be taken over: the route to its router decides, unless it is told."""

import asyncio
from collections.abc import Callable

import pytest

from services.common.domain.address import join_address, split_address
from services.common.errors import BadSetting
from services.worker import WorkerSettings, handoff_host

Ask = Callable[[str, int], "asyncio.Future[str]"]


def asked(routes: dict[str, str]) -> Ask:
    """Routes by the router's host; to others there is none."""

    async def ask(host: str, _port: int) -> str:
        if host not in routes:
            raise OSError("no route")
        return routes[host]

    return ask  # type: ignore[return-value]


async def found(routers: str, routes: dict[str, str], **settings: str) -> str:
    told = WorkerSettings(model="m", routers=(routers,), **settings)  # type: ignore[arg-type]
    return await handoff_host.handoff_host(told, asked(routes))


@pytest.mark.parametrize(
    ("routers", "address"),
    [
        ("a:1", "10.0.0.2"),
        ("[fd00::1]:1", "fd00::2"),
        ("here:1", "127.0.0.1"),
        ("here:1,a:1", "10.0.0.2"),
        ("near:1,a:1", "10.0.0.2"),
        ("away:1,a:1", "10.0.0.2"),
        ("a:1,b:1", "10.0.0.2"),
        ("b:1,a:1", "10.1.0.2"),
    ],
)
async def test_the_route_to_a_router_decides(routers: str, address: str) -> None:
    routes = {
        "a": "10.0.0.2",
        "b": "10.1.0.2",
        "fd00::1": "fd00::2",
        "here": "127.0.0.1",
        "near": "fe80::7%e",
    }
    assert await found(routers, routes) == address


async def test_a_router_that_cannot_be_found_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handoff_host, "LOOK_AGAIN_S", 0)
    routes: dict[str, str] = {}
    waiting = asyncio.create_task(found("a:1", routes))
    await asyncio.sleep(0)
    assert not waiting.done()
    routes["a"] = "10.0.0.2"
    assert await waiting == "10.0.0.2"


async def test_loopback_is_taken_only_when_no_other_router_can_be_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handoff_host, "LOOK_AGAIN_S", 0)
    looks = []

    async def ask(host: str, _port: int) -> str:
        looks.append(host)
        if host == "away":
            raise OSError("no route")
        return "127.0.0.1"

    told = WorkerSettings(model="m", routers=("here:1,away:1",))
    assert await handoff_host.handoff_host(told, ask) == "127.0.0.1"
    assert looks.count("away") == handoff_host.LOOKS_MAX


async def test_what_is_told_wins() -> None:
    routes = {"a": "10.0.0.2"}
    assert await found("a:1", routes, handoff_host="127.0.0.3") == "127.0.0.3"
    assert await found("a:1", routes, handoff_host="localhost") in ("127.0.0.1", "::1")
    for everywhere in ("127.0.0.1", "localhost", "0.0.0.0", "::", ""):
        assert await found("a:1", routes, host=everywhere) == "10.0.0.2"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "no such name"])
async def test_an_address_that_is_not_this_hosts_is_refused(host: str) -> None:
    with pytest.raises(BadSetting, match="--handoff-host"):
        await found("a:1", {}, handoff_host=host)


async def test_a_link_local_address_is_refused() -> None:
    with pytest.raises(BadSetting, match="set --handoff-host"):
        await found("near:1", {"near": "fe80::7%e"})


async def test_the_kernel_knows_the_route() -> None:
    told = WorkerSettings(model="m", routers=("127.0.0.1:9",))
    assert await handoff_host.handoff_host(told) == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "address"), [("10.0.0.1", "10.0.0.1:7"), ("fd00::1", "[fd00::1]:7"), ("[::1]", "[::1]:7")]
)
def test_addresses_are_put_together_and_taken_apart(host: str, address: str) -> None:
    assert join_address(host, 7) == address
    assert split_address(address) == (host.strip("[]"), 7)


@pytest.mark.parametrize("address", ["a", ":7", "a:", "a:b", "fd00::1:7"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
        split_address(address)
