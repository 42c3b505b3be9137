"""Another server becomes the right one: by its name, by sentinels, in a cluster; and what TLS asks for."""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from services.common.errors import StoreUnavailable
from services.common.store.budgets import Budgets
from services.common.store.client import RedisClient
from services.common.store.journal import Addition, Progress
from services.common.store.ledger import RedisLedger
from services.common.store.redis import RedisStore
from services.common.store.redis_journal import RedisJournal
from services.common.store.usage import UsageEntry
from tests.certificates import Authority
from tests.redis_server import RedisServer, free_port, redis_server

NAME = "redis.test"
Write = Callable[[], Awaitable[Any]]


class Moved:
    """A name that leads to one of two servers on the same port."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = "127.0.0.1"
        resolve = socket.getaddrinfo

        def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
            return resolve(self.host if host == NAME else host, *rest, **options)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def old() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def new(old: RedisServer) -> Iterator[RedisServer]:
    with redis_server(host="127.0.0.2", port=old.port) as server:
        yield server


@asynccontextmanager
async def writers(url: str) -> AsyncIterator[dict[str, Write]]:
    """Each way of writing, with a connection of its own."""
    async with AsyncExitStack() as stack:

        def client() -> RedisClient:
            return RedisClient(url, timeout_s=2.0, connections_max=2)

        store, journal = RedisStore(url), RedisJournal(url, kept_ttl_ms=60_000)
        ledger, budgets = RedisLedger(client()), Budgets(client(), 2_000)
        for opened in (store, journal, ledger, budgets):
            stack.push_async_callback(opened.close)
        entry = UsageEntry(1, "2026-01-31", "acme", "m", 1, 0, 1, 0, 0)
        name = uuid.uuid4().hex

        async def publish() -> None:
            await journal.claim(name, "digest", "run")
            await journal.publish([Addition(name, "run", b"", b"", Progress.RUNNING)])

        yield {
            "set": lambda: store.set("key", b"1", 60_000),
            "claim": lambda: store.claim("held", b"1", 60_000),
            "enter": lambda: store.enter("roster", "a", 60_000),
            "publish": publish,
            "add": lambda: ledger.add(uuid.uuid4().hex, [entry]),
            "reconcile": lambda: budgets.reconcile(uuid.uuid4().hex, []),
        }


async def moves_on(ways: dict[str, Write]) -> None:
    """Each client is refused once by the server that has turned replica, and then finds the other."""
    refused = set()
    for way, write in ways.items():
        try:
            await write()
        except StoreUnavailable:
            refused.add(way)
            await write()
    assert {"set", "publish", "add", "reconcile"} <= refused


async def becomes_replica(old: RedisServer, new: RedisServer) -> None:
    """Without a word to those who are connected."""
    async with Redis.from_url(old.url) as server:
        await server.replicaof(new.host, str(new.port))


async def test_a_server_that_turned_replica_is_left_for_the_one_that_its_name_leads_to(
    old: RedisServer, new: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = Moved(monkeypatch)
    async with writers(f"redis://{NAME}:{old.port}/0") as ways:
        for write in ways.values():
            await write()
        await becomes_replica(old, new)
        name.host = new.host
        await moves_on(ways)
    async with Redis.from_url(new.url) as server:
        assert await server.exists("key", "held", "roster") == 3


async def test_a_refused_command_costs_no_connection(old: RedisServer) -> None:
    client = RedisClient(old.url, timeout_s=2.0, connections_max=1)
    async with client.commands() as redis:
        await redis.set("text", "x")
        before = await redis.client_id()
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        async with client.commands() as redis:
            await redis.lpush("text", "x")
    async with client.commands() as redis:
        assert await redis.client_id() == before
    await client.close()


async def test_sentinels_say_which_server_is_the_master(
    old: RedisServer, new: RedisServer, tmp_path: Path
) -> None:
    config = tmp_path / "sentinel.conf"
    config.write_text(f"sentinel monitor pdmesh {old.host} {old.port} 1\n")
    with redis_server(options=(str(config), "--sentinel"), is_store=False) as sentinel:
        url = f"redis+sentinel://127.0.0.1:1,{sentinel.host}:{sentinel.port}/pdmesh/0"
        async with writers(url) as ways:
            for write in ways.values():
                await write()
            await becomes_replica(old, new)
            async with Redis.from_url(sentinel.url) as told:
                await told.execute_command("SENTINEL", "REMOVE", "pdmesh")
                await told.execute_command("SENTINEL", "MONITOR", "pdmesh", new.host, new.port, 1)
            await moves_on(ways)
        async with Redis.from_url(new.url) as server:
            assert await server.exists("key", "held", "roster") == 3


async def test_all_that_is_written_is_written_to_a_cluster(tmp_path: Path) -> None:
    files = ("--dir", str(tmp_path), "--cluster-config-file", "nodes.conf")
    with redis_server(
        options=("--cluster-enabled", "yes", "--cluster-port", str(free_port()), *files)
    ) as server:
        async with Redis.from_url(server.url) as node:
            await node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
            while b"cluster_state:ok" not in bytes(await node.execute_command("CLUSTER", "INFO")):
                await asyncio.sleep(0.01)
        async with writers(f"redis+cluster://127.0.0.1:{server.port}") as ways:
            for write in ways.values():
                await write()
                await write()
        async with Redis.from_url(server.url) as node:
            assert await node.exists("key") == 1


@pytest.mark.parametrize("trusted", [True, False])
async def test_tls_needs_a_certificate_that_is_trusted(trusted: bool, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    own = authority.issue("localhost")
    options = ("--tls-cert-file", own.cert, "--tls-key-file", own.key)
    options += ("--tls-ca-cert-file", authority.certificate, "--tls-auth-clients", "no")
    with redis_server(options=options, is_tls=True) as server:
        ca = (authority if trusted else stranger).certificate
        store = RedisStore(f"rediss://localhost:{server.port}/0?ssl_ca_certs={ca}")
        if trusted:
            await store.set("key", b"1", 60_000)
            assert await store.get("key") == b"1"
        else:
            with pytest.raises(StoreUnavailable):
                await store.ping()
        await store.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis+sentinel://host", "the path is /SERVICE"),
        ("redis+sentinel://host/a/b/c", "the path is /SERVICE"),
        ("redis+sentinel://,/a", "names no host"),
        ("redis+sentinel://host:x/a", "invalid literal"),
        ("redis+cluster://host/3", "database 0 alone"),
        ("redis+cluster://host?ssl_ca_certs=ca", "for rediss"),
        ("rediss+cluster://host?ssl_ca=ca", "no such parameter"),
        ("redis+other://host", "is none of redis://"),
        ("http+cluster://host", "is none of redis://"),
    ],
)
def test_an_address_that_is_none_is_one_line(url: str, says: str) -> None:
    with pytest.raises(StoreUnavailable, match=says) as refused:
        RedisStore(url)
    assert "\n" not in refused.value.message
