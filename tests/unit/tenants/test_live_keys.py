"""Signing keys over HTTP: fetched in the background, kept when a fetch fails."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.common.clock import ManualClock
from services.common.errors import BadSetting, KeysUnavailable
from services.gateway.tenants.live_keys import LiveKeys
from services.gateway.tenants.metrics import Metrics
from services.gateway.tenants.token import TokenVerifier
from tests.unit.tenants.issuer import OTHER_RSA, RSA, SETTINGS, document, jwk, token

WAIT_S = 10.0


class Published:
    """What an issuer's web server answers with."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, document(jwk(RSA, "RS256")), {}
        self.requests = 0
        self.may_answer = threading.Event()
        self.may_answer.set()


@contextmanager
def issuer_server() -> Iterator[tuple[str, Published]]:
    published = Published()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            published.requests += 1
            published.may_answer.wait(WAIT_S)
            self.send_response(published.status)
            for name, value in {"content-length": str(len(published.body)), **published.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(published.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/keys", published
        finally:
            published.may_answer.set()
            server.shutdown()
            serving.join()


@asynccontextmanager
async def live(url: str, clock: ManualClock, registry: CollectorRegistry) -> AsyncIterator[LiveKeys]:
    keys = LiveKeys(url, Metrics(registry), clock)
    await keys.load()
    running = asyncio.create_task(keys.run())
    try:
        yield keys
    finally:
        running.cancel()
        await asyncio.wait([running])


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_so():
            await asyncio.sleep(0.005)


async def test_a_rotated_key_is_fetched_when_a_token_names_it_and_nothing_waits():
    clock, registry = ManualClock(1e6), CollectorRegistry()
    with issuer_server() as (url, published):
        published.may_answer.clear()
        async with live(url, clock, registry) as keys:
            verify = TokenVerifier(SETTINGS, keys)
            with pytest.raises(KeysUnavailable):  # the issuer has not answered yet
                verify.verify(token())
            published.may_answer.set()
            await until(lambda: keys.version == 1)
            assert verify.verify(token()).tenant == "acme"
            published.body = document(jwk(RSA, "RS256"), jwk(OTHER_RSA, "rotated"))
            clock.advance(10_000)
            with pytest.raises(KeysUnavailable):
                verify.verify(token(key=OTHER_RSA, kid="rotated"))
            await until(lambda: keys.version == 2)
            assert verify.verify(token(key=OTHER_RSA, kid="rotated")).tenant == "acme"
            assert published.requests == 2


@pytest.mark.parametrize("trouble", ["status", "nonsense", "empty", "redirect", "huge"])
async def test_an_answer_that_is_no_key_set_changes_nothing(trouble: str):
    clock, registry = ManualClock(1e6), CollectorRegistry()
    with issuer_server() as (url, published):
        async with live(url, clock, registry) as keys:
            await until(lambda: keys.version == 1)
            if trouble == "status":
                published.status = 500
            elif trouble == "redirect":
                published.status, published.headers = 302, {"location": url}
            else:
                bodies = {"nonsense": b"<html>", "empty": document(), "huge": b" " * (2 * 1024 * 1024)}
                published.body = bodies[trouble]
            clock.advance(10_000)
            assert keys.ask()
            await until(lambda: registry.get_sample_value("pdmesh_gateway_key_set_failures_total") == 1)
            assert keys.current.find("RS256") is not None
            assert TokenVerifier(SETTINGS, keys).verify(token()).tenant == "acme"
            assert published.requests == 2


async def test_keys_in_a_file_are_there_from_the_start_and_must_be_good(tmp_path: Path):
    path = tmp_path / "keys.json"
    keys = LiveKeys(str(path), Metrics(CollectorRegistry()), ManualClock())
    with pytest.raises(BadSetting, match="No such file"):
        await keys.load()
    path.write_bytes(b"{}")
    with pytest.raises(BadSetting, match="no JWKS"):
        await keys.load()
    path.write_bytes(document(jwk(RSA, "RS256")))
    await keys.load()
    assert keys.current.find("RS256") is not None


@pytest.mark.parametrize(
    "url", ["http://issuer.test/keys", "ftp://x/keys", "http://[::1/keys", "file:///etc/x"]
)
def test_an_address_whose_answer_anybody_could_forge_is_refused(url: str):
    with pytest.raises(BadSetting, match="--jwt-jwks"):
        LiveKeys(url, Metrics(CollectorRegistry()), ManualClock())


def test_keys_without_an_issuer_and_an_audience_are_refused():
    from services.common.credentials import JwtSettings

    for more in ({}, {"issuer": "i"}, {"audience": ("a",)}):
        with pytest.raises(ValueError, match="--jwt-issuer"):
            JwtSettings(jwks="keys.json", **more)
