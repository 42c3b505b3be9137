"""Addresses of Redis: one server, what sentinels say is the master, or a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff, NoBackoff

PORT = 6_379
SENTINEL_PORT = 26_379
CLUSTER_RETRY_S = 0.1
CLUSTER_RETRIES = 2
"""While a cluster makes another of its servers the master."""
SENTINEL, CLUSTER = "sentinel", "cluster"
FORMS = (
    "redis://, unix://, redis+sentinel://HOST[,HOST]/SERVICE[/DB], redis+cluster://HOST[,HOST], and with TLS "
    "rediss://, rediss+sentinel://, rediss+cluster://"
)
TLS_PARAMETERS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one client: time for each command, a connection and a free connection, and how many of these."""

    timeout_s: float
    connections_max: int

    def timeouts(self) -> dict[str, Any]:
        """As redis-py names them."""
        return {"socket_timeout": self.timeout_s, "socket_connect_timeout": self.timeout_s}


def open_redis(url: str, bounds: Bounds) -> "Redis | RedisCluster":
    """A client, not connected yet; raises ValueError for an address that is none."""
    scheme = urlsplit(url).scheme
    base, _, kind = scheme.partition("+")
    if kind and (base not in ("redis", "rediss") or kind not in (SENTINEL, CLUSTER)):
        raise ValueError(f"{scheme}:// is none of {FORMS}")
    if kind == CLUSTER:
        return _cluster(_Parts.of(url), bounds)
    if kind == SENTINEL:
        return Redis.from_pool(_sentinel_pool(_Parts.of(url), bounds))
    pool = BlockingConnectionPool.from_url(
        url, **bounds.timeouts(), max_connections=bounds.connections_max, timeout=bounds.timeout_s
    )
    return Redis.from_pool(pool)


def sentinels_of(client: "Redis | RedisCluster") -> list[Redis]:
    """The clients of its sentinels, which do not close with it."""
    if isinstance(client, RedisCluster):
        return []
    sentinel: Sentinel | None = client.connection_pool.connection_kwargs.get("sentinel")
    return [] if sentinel is None else list(sentinel.sentinels)


@dataclass(frozen=True, slots=True)
class _Parts:
    """An address with several hosts."""

    hosts: tuple[tuple[str, int | None], ...]
    path: tuple[str, ...]
    login: Mapping[str, Any]
    tls: Mapping[str, Any] | None
    """redis-py's options; None is plain text."""

    @classmethod
    def of(cls, url: str) -> "_Parts":
        """Raises ValueError."""
        parts = urlsplit(url)
        is_tls = parts.scheme.startswith("rediss")
        if parts.query and not is_tls:
            raise ValueError(f"{parts.query.partition('=')[0]}: parameters are for rediss+ alone")
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        named = {"username": unquote(user), "password": unquote(password)}
        return cls(
            hosts=tuple(_host(text) for text in hosts.split(",")),
            path=tuple(unquote(part) for part in parts.path.split("/") if part),
            login={name: value for name, value in named.items() if value},
            tls=_tls(parts.query) if is_tls else None,
        )


def _host(text: str) -> tuple[str, int | None]:
    host, _, port = text.rpartition(":") if ":" in text.rpartition("]")[2] else (text, "", "")
    if not host.strip("[]"):
        raise ValueError(f"{text!r} names no host")
    return host.strip("[]"), int(port) if port else None


def _tls(query: str) -> Mapping[str, Any]:
    options: dict[str, Any] = dict(parse_qsl(query, strict_parsing=bool(query)))
    for name in options:
        if name not in TLS_PARAMETERS:
            raise ValueError(f"{name}: no such parameter; there are {', '.join(TLS_PARAMETERS)}")
    if "ssl_check_hostname" in options:
        options["ssl_check_hostname"] = options["ssl_check_hostname"].lower() in ("true", "1", "yes")
    return options


def _cluster(parts: _Parts, bounds: Bounds) -> RedisCluster:
    if parts.path not in ((), ("0",)):
        raise ValueError("a cluster has database 0 alone")
    return RedisCluster(
        startup_nodes=[ClusterNode(host, port or PORT) for host, port in parts.hosts],
        max_connections=bounds.connections_max,
        ssl=parts.tls is not None,
        retry=Retry(ConstantBackoff(CLUSTER_RETRY_S), CLUSTER_RETRIES),
        **bounds.timeouts(),
        **parts.login,
        **(parts.tls or {}),
    )


def _sentinel_pool(parts: _Parts, bounds: Bounds) -> BlockingConnectionPool:
    """Connections to the present master: sentinels are asked for each new one."""
    if len(parts.path) not in (1, 2):
        raise ValueError("the path is /SERVICE or /SERVICE/DB")
    tls: Mapping[str, Any] = {"ssl": True, **parts.tls} if parts.tls is not None else {}
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [(host, port or SENTINEL_PORT) for host, port in parts.hosts],
        sentinel_kwargs={**bounds.timeouts(), **tls, "retry": Retry(NoBackoff(), 0)},
    )
    return BlockingConnectionPool(
        connection_class=MasterConnection if parts.tls is None else TlsMasterConnection,
        sentinel=sentinel,
        service=parts.path[0],
        db=int(parts.path[1]) if len(parts.path) == 2 else 0,
        max_connections=bounds.connections_max,
        timeout=bounds.timeout_s,
        **bounds.timeouts(),
        **parts.login,
        **(parts.tls or {}),
    )


class _ToMaster:
    """A connection that asks where the master is each time that it is made."""

    def __init__(self, *, sentinel: Sentinel, service: str, **options: Any) -> None:
        super().__init__(**options)
        self._sentinel, self._service = sentinel, service

    async def _connect(self) -> None:
        self.host, self.port = await self._sentinel.discover_master(self._service)
        await super()._connect()  # type: ignore[misc]


class MasterConnection(_ToMaster, Connection):
    """In plain text."""


class TlsMasterConnection(_ToMaster, SSLConnection):
    """Over TLS."""
