"""HTTPS at the gateway: certificates of both sides, renewal, and everything that plain HTTP does too."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.cli.access import Access
from services.cli.main import main
from services.common.credentials import KeyRecord, TlsSettings, new_key
from services.common.errors import BadSetting
from services.gateway.http.tls import Tls
from services.gateway.main import serve
from services.gateway.settings import Settings
from tests.certificates import Authority, Pair
from tests.wire.gateway.fake_router import FakeRouter, running_router
from tests.wire.gateway.raw_http import RawClient, get, post

WAIT_S = 20.0


def trusting(authority: Authority, client: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if client is not None:
        context.load_cert_chain(client.cert, client.key)
    return context


async def connect(port: int, context: ssl.SSLContext) -> RawClient:
    return RawClient(*await asyncio.open_connection("127.0.0.1", port, ssl=context))


async def ask(port: int, context: ssl.SSLContext, request: bytes) -> tuple[int, bytes]:
    """Status and body; a peer that ends the connection instead is ConnectionError."""
    client = await connect(port, context)
    try:
        client.send(request)
        async with asyncio.timeout(WAIT_S):
            response = await client.response()
    except asyncio.IncompleteReadError as cut:
        raise ConnectionError("closed without an answer") from cut
    finally:
        await client.close()
    return response.status, response.body


@asynccontextmanager
async def running(model: Path, router: FakeRouter, **settings: object) -> AsyncIterator[tuple[str, int]]:
    """URL and port of a gateway."""
    stop: asyncio.Event = asyncio.Event()
    ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    async with running_router(router) as router_port:
        given = {"port": 0, "model": str(model), "router": (f"127.0.0.1:{router_port}",), "grace_ms": 200}
        all_settings = Settings(**given, **settings)  # type: ignore[arg-type]
        serving = asyncio.create_task(serve(all_settings, stop, ready.set_result, CollectorRegistry()))
        await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving
        try:
            url = (await ready)["url"]
            yield url, int(url.rsplit(":", 1)[1])
        finally:
            stop.set()
            await serving


async def until_ready(port: int, context: ssl.SSLContext) -> None:
    async with asyncio.timeout(WAIT_S):
        while (await ask(port, context, get("/ready")))[0] != 200:
            await asyncio.sleep(0.02)


async def test_the_api_is_https_and_speaks_nothing_else(authority: Authority, model_directory: Path):
    pair, router = authority.issue("edge"), FakeRouter()
    async with running(model_directory, router, tls=TlsSettings(pair.cert, pair.key)) as (url, port):
        assert url.startswith("https://")
        await until_ready(port, trusting(authority))
        plain = await RawClient.connect(port)
        plain.send(get("/health"))
        assert b"HTTP" not in await plain.reader.read()
        await plain.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, ssl.create_default_context(), get("/health"))


async def test_streams_pipelining_and_refusals_work_over_tls(
    authority: Authority, model_directory: Path, caplog: pytest.LogCaptureFixture
):
    pair, router = authority.issue("edge"), FakeRouter()

    def script(job):
        job.place()
        for _ in range(20):
            job.send([5])
        job.end()

    router.script = script
    async with running(model_directory, router, tls=TlsSettings(pair.cert, pair.key)) as (_, port):
        context = trusting(authority)
        await until_ready(port, context)
        client = await connect(port, context)
        body = b'{"model": "tiny", "prompt": [5], "max_tokens": 20, "stream": true}'
        client.send(post("/v1/completions", body) + post("/v1/completions", body) + b"NONSENSE\r\n\r\n")
        async with asyncio.timeout(WAIT_S):
            for _ in range(2):
                streamed = await client.response()
                assert streamed.status == 200
                assert streamed.body.endswith(b"data: [DONE]\n\n")
            assert (await client.response()).status == 400
        await client.close()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("shown", ["none", "strange", "good"])
async def test_a_client_must_show_a_certificate_where_one_is_demanded(
    shown: str, authority: Authority, model_directory: Path, tmp_path: Path
):
    pair, client = authority.issue("edge"), authority.issue("client")
    strange = Authority(tmp_path, "strange").issue("stranger")
    tls = TlsSettings(pair.cert, pair.key, authority.certificate)
    context = trusting(authority, {"none": None, "strange": strange, "good": client}[shown])
    async with running(model_directory, FakeRouter(), tls=tls) as (_, port):
        if shown == "good":
            assert (await ask(port, context, get("/health")))[0] == 200
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await ask(port, context, get("/health"))
            assert (await ask(port, trusting(authority, client), get("/health")))[0] == 200


async def test_a_renewed_certificate_holds_without_a_restart(tmp_path: Path, model_directory: Path):
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    pair = old.issue("edge")
    async with running(model_directory, FakeRouter(), tls=TlsSettings(pair.cert, pair.key)) as (_, port):
        kept = await connect(port, trusting(old))
        kept.send(get("/health"))
        assert (await kept.response()).status == 200
        other = Path(old.issue("other").cert).read_bytes()  # noqa: ASYNC240
        for broken in (b"-----BEGIN nonsense", other):  # the second does not fit the key
            Path(pair.cert).write_bytes(broken)  # noqa: ASYNC240
            await asyncio.sleep(1.5)
            assert (await ask(port, trusting(old), get("/health")))[0] == 200
        new.issue("edge")
        async with asyncio.timeout(WAIT_S):
            while not await _is_trusted(port, trusting(new)):
                await asyncio.sleep(0.05)
        kept.send(get("/health"))
        assert (await kept.response()).status == 200
        await kept.close()


async def _is_trusted(port: int, context: ssl.SSLContext) -> bool:
    try:
        return (await ask(port, context, get("/health")))[0] == 200
    except ssl.SSLError:
        return False


async def test_the_terminal_client_shows_a_key_and_checks_the_certificate(
    authority: Authority, model_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pair, key, router = authority.issue("edge"), new_key(), FakeRouter()
    tenants = tmp_path / "tenants.toml"
    tenants.write_text(f'[tenants.acme]\nkeys = ["{KeyRecord.of(key)}"]\n')

    def script(job):
        job.place()
        job.send([5, 6])
        job.end()

    router.script = script
    tls = TlsSettings(pair.cert, pair.key)
    async with running(model_directory, router, tls=tls, tenants=str(tenants)) as (url, port):
        await until_ready(port, trusting(authority))
        ask_it = ["chat", "hello", "--max-tokens", "5", "--url", url]
        trusts, shows = ["--tls-ca", authority.certificate], ["--api-key", key]
        assert await asyncio.to_thread(main, ask_it + trusts + shows) == 0
        assert router.jobs[0].request.tenant == "acme"
        assert await asyncio.to_thread(main, ask_it + trusts) == 1
        assert "invalid_api_key" in capsys.readouterr().err
        assert await asyncio.to_thread(main, ask_it + shows) == 1
        assert "certificate" in capsys.readouterr().err


def test_a_pair_that_does_not_fit_does_not_start(authority: Authority):
    one, other = authority.issue("one"), authority.issue("other")
    context = Tls(TlsSettings(one.cert, one.key)).context
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    with pytest.raises(BadSetting, match="MISMATCH"):
        Tls(TlsSettings(one.cert, other.key))
    with pytest.raises(BadSetting, match=r"--tls-cert: .*gone"):
        Tls(TlsSettings("gone.pem", one.key))
    for settings in ({"cert": "c"}, {"key": "k"}, {"client_ca": "c"}):
        with pytest.raises(ValueError, match="--tls-"):
            TlsSettings(**settings)
    with pytest.raises(ValueError, match="--tls-"):
        Access(tls_cert="c")
