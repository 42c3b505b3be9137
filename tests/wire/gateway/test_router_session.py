"""What a gateway does when its router goes, comes back, or misbehaves."""

import asyncio
import contextlib
import dataclasses
import json
import random
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from pdmesh.router.v1 import router_pb2
from pdmesh.types.v1 import types_pb2
from services.common.errors import BadSetting, ModelMissing, NotResumable, PortInUse
from services.common.limits import DEFAULTS
from services.common.settings import load
from services.gateway.settings import Settings
from tests.wire.gateway.conftest import become_ready, running_gateway
from tests.wire.gateway.fake_router import FakeRouter, running_router
from tests.wire.gateway.raw_http import RawClient, RawResponse, get
from tests.wire.gateway.test_streaming import chat, events, eventually, text_of


def free_port() -> int:
    """A free port outside the ephemeral range, so that it stays free while no router listens on it."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def settings(directory: Path, *router_ports: int, **given: Any) -> Settings:
    routers = tuple(f"127.0.0.1:{port}" for port in router_ports)
    return Settings(port=0, model=str(directory), router=routers, **given)


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def listens(port: int) -> bool:
    """Whether somebody listens there. Connecting to find out would race with the listener's end, and leave a
    socket behind that Python 3.11 has accepted and cannot attach any more."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


async def ask(port: int, request: bytes) -> RawResponse:
    client = await RawClient.connect(port)
    client.send(request)
    response = await client.response()
    await client.close()
    return response


async def test_without_a_router_the_gateway_lives_and_refuses(model_directory: Path) -> None:
    async with running_gateway(settings(model_directory, free_port())) as (url, _):
        port = port_of(url)
        assert (await ask(port, get("/health"))).status == 200
        assert (await ask(port, get("/ready"))).status == 503
        refused = await ask(port, chat())
        assert refused.status == 503
        assert refused.headers["retry-after"] == "1"
        assert json.loads(refused.body)["error"]["code"] == "router_unavailable"
        assert json.loads((await ask(port, get("/v1/models"))).body)["data"] == []


async def test_a_stream_goes_on_at_the_router_that_comes_back(model_directory: Path) -> None:
    """The new router is told what the client has; the client sees one whole stream."""
    first, second = FakeRouter(), FakeRouter()
    router_port = free_port()
    async with running_gateway(settings(model_directory, router_port)) as (url, _):
        async with running_router(first, router_port):
            await become_ready(port_of(url))
            client = await RawClient.connect(port_of(url))
            client.send(chat())
            job = await first.job()
            job.place()
            job.send([70, 71, 72])
            await client.head()
            stream = events(client)
            made = [await anext(stream), await anext(stream)]
        async with running_router(second, router_port):
            again = await second.job()
            assert list(again.request.delivered) == [70, 71, 72]
            assert again.request.prompt == job.request.prompt
            assert again.request.sampling == job.request.sampling
            again.send([73, 74])
            again.end()
            made.extend([event async for event in stream])
            assert made[-1] == "[DONE]"
            assert text_of(made) == text_of(made[:2]) + text_of(made[2:])
            assert len(second.jobs) == 1
            await client.close()


async def test_a_stream_moves_to_the_next_router_of_the_list(model_directory: Path) -> None:
    first, second = FakeRouter(), FakeRouter()
    async with AsyncExitStack() as first_runs, running_router(second) as second_port:
        first_port = await first_runs.enter_async_context(running_router(first))
        async with running_gateway(settings(model_directory, first_port, second_port)) as (url, _):
            await become_ready(port_of(url))
            client = await RawClient.connect(port_of(url))
            client.send(chat(stream=False))
            job = await first.job()
            job.send([70])
            await first_runs.aclose()
            moved = await second.job()
            moved.send([71] * (2 - len(moved.request.delivered)))
            moved.end()
            response = await client.response()
            assert json.loads(response.body)["usage"]["completion_tokens"] == 2
            await client.close()


@pytest.mark.parametrize("sampling", [{"seed": 1}, {"presence_penalty": 1}])
async def test_whether_a_stream_can_go_on_exactly_the_next_router_decides(
    model_directory: Path, sampling: dict[str, Any]
) -> None:
    first, second = FakeRouter(), FakeRouter()
    router_port = free_port()
    async with running_gateway(settings(model_directory, router_port)) as (url, _):
        async with running_router(first, router_port):
            await become_ready(port_of(url))
            client = await RawClient.connect(port_of(url))
            client.send(chat(**sampling))
            job = await first.job()
            job.send([70])
            await client.head()
            stream = events(client)
            await anext(stream)
            await anext(stream)
        async with running_router(second, router_port):
            again = await second.job()
            assert list(again.request.delivered) == [70]
            again.end(types_pb2.FINISH_REASON_ERROR, NotResumable("not on these engines"))
            assert [event["error"]["code"] async for event in stream] == ["not_resumable"]
            await client.close()


async def test_a_seeded_request_without_a_token_is_submitted_again(model_directory: Path) -> None:
    first, second = FakeRouter(), FakeRouter()
    router_port = free_port()
    async with running_gateway(settings(model_directory, router_port)) as (url, _):
        async with running_router(first, router_port):
            await become_ready(port_of(url))
            client = await RawClient.connect(port_of(url))
            client.send(chat(seed=1))
            await first.job()
        async with running_router(second, router_port):
            job = await second.job()
            assert (job.request.sampling.seed, list(job.request.delivered)) == (1, [])
            job.end()
            await client.response()
            await client.close()


@pytest.mark.parametrize(("ids", "finish"), [([70, 71], "length"), ([70, 2], "stop")])
async def test_a_stream_whose_last_token_came_ends_without_the_router(
    model_directory: Path, ids: list[int], finish: str
) -> None:
    """Token 2 is the model's end-of-sequence; submitting such a stream again would generate past it."""
    router = FakeRouter()
    router_port = free_port()
    async with running_gateway(settings(model_directory, router_port)) as (url, _):
        async with running_router(router, router_port):
            await become_ready(port_of(url))
            client = await RawClient.connect(port_of(url))
            client.send(chat(max_tokens=len(ids) if finish == "length" else 9))
            job = await router.job()
            job.send(ids)
            await client.head()
            stream = events(client)
            made = [await anext(stream), await anext(stream)]
        made.extend([event async for event in stream])
        assert made[-2]["choices"][0]["finish_reason"] == finish
        await client.close()


def says_72(job: Any) -> None:
    job.place()
    job.send([72])
    job.end()


@pytest.mark.parametrize("times", [1, 3])
async def test_new_requests_wait_for_a_router_that_starts_again(model_directory: Path, times: int) -> None:
    """As often as it does: what comes meanwhile is held, and answered by the next one."""
    router_port = free_port()
    async with running_gateway(settings(model_directory, router_port)) as (url, _):
        port = port_of(url)
        async with running_router(FakeRouter(), router_port):
            await become_ready(port)
        for _ in range(times):
            clients = [await RawClient.connect(port) for _ in range(3)]
            for client in clients:
                client.send(chat())
            router = FakeRouter()
            router.script = says_72
            async with running_router(router, router_port):
                assert [(await client.response()).status for client in clients] == [200] * 3
            for client in clients:
                await client.close()


async def test_new_requests_wait_for_the_only_worker_that_starts_again(model_directory: Path) -> None:
    router = FakeRouter()
    router.script = says_72
    async with (
        running_router(router) as router_port,
        running_gateway(settings(model_directory, router_port)) as (url, _),
    ):
        port = port_of(url)
        await become_ready(port)
        session = router.sessions[0]
        for _ in range(2):
            session.draft.set_models(router_pb2.ModelList())
            session.link.wake()
            while (await ask(port, get("/ready"))).status == 200:
                await asyncio.sleep(0.005)
            client = await RawClient.connect(port)
            client.send(chat())
            session.draft.set_models(router_pb2.ModelList(models=router.models))
            session.link.wake()
            assert (await client.response()).status == 200
            await client.close()


async def test_streams_wait_for_a_router_only_so_long(model_directory: Path) -> None:
    router = FakeRouter()
    router_port = free_port()
    async with running_gateway(settings(model_directory, router_port, resume_wait_ms=100)) as (url, _):
        async with running_router(router, router_port):
            await become_ready(port_of(url))
            client = await RawClient.connect(port_of(url))
            client.send(chat())
            await router.job()
        response = await client.response()
        assert response.status == 503
        assert json.loads(response.body)["error"]["code"] == "router_unavailable"
        await client.close()


async def test_a_client_that_leaves_while_there_is_no_router_is_not_submitted_again(
    model_directory: Path,
) -> None:
    first, second = FakeRouter(), FakeRouter()
    router_port = free_port()
    async with running_gateway(settings(model_directory, router_port)) as (url, _):
        async with running_router(first, router_port):
            port = port_of(url)
            await become_ready(port)
            client = await RawClient.connect(port)
            client.send(chat())
            await first.job()
        await client.close()
        async with running_router(second, router_port):
            await become_ready(port)
            assert second.jobs == []


async def test_a_router_that_breaks_the_rules_is_left(model_directory: Path) -> None:
    router = FakeRouter()
    async with (
        running_router(router) as router_port,
        running_gateway(settings(model_directory, router_port)) as (url, _),
    ):
        await become_ready(port_of(url))
        session = router.sessions[0]
        client = await RawClient.connect(port_of(url))
        client.send(chat())
        job = await router.job()
        session.link._sent += 5  # the next frame's number leaves a gap
        job.send([70])
        again = await router.job(2)
        assert list(again.request.delivered) == []
        again.send([70])
        again.end()
        await client.head()
        assert [event async for event in events(client)][-1] == "[DONE]"
        await client.close()


async def test_models_come_and_go(model_directory: Path) -> None:
    router = FakeRouter()
    async with (
        running_router(router) as router_port,
        running_gateway(settings(model_directory, router_port, resume_wait_ms=100)) as (url, _),
    ):
        port = port_of(url)
        await become_ready(port)
        session = router.sessions[0]
        session.draft.set_models(router_pb2.ModelList())
        session.link.wake()
        while (await ask(port, get("/ready"))).status == 200:
            await asyncio.sleep(0.005)
        assert (await ask(port, chat())).status == 503


async def test_a_named_model_hides_the_others(model_directory: Path) -> None:
    router = FakeRouter()
    async with running_router(router) as router_port:
        given = settings(model_directory, router_port, served_model_name="mine")
        async with running_gateway(given) as (url, _):
            await eventually(lambda: bool(router.sessions))
            assert json.loads((await ask(port_of(url), get("/v1/models"))).body)["data"] == []


async def test_the_bound_on_streams(model_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = dataclasses.replace(DEFAULTS, streams_per_gateway_max=1)
    monkeypatch.setattr("services.gateway.main.DEFAULTS", limits)
    router = FakeRouter()
    async with (
        running_router(router) as router_port,
        running_gateway(settings(model_directory, router_port)) as (url, _),
    ):
        port = port_of(url)
        await become_ready(port)
        client = await RawClient.connect(port)
        client.send(chat())
        job = await router.job()
        refused = await ask(port, chat())
        assert (refused.status, json.loads(refused.body)["error"]["code"]) == (503, "too_many_connections")
        job.end()
        await client.response()
        await client.close()


async def test_stopping_lets_answers_end(model_directory: Path) -> None:
    router = FakeRouter()
    async with running_router(router) as router_port:
        gateway = running_gateway(settings(model_directory, router_port, grace_ms=5_000))
        async with gateway as (url, stop):
            await become_ready(port_of(url))
            client = await RawClient.connect(port_of(url))
            client.send(chat(stream=False))
            job = await router.job()
            stop.set()
            while listens(port_of(url)):
                await asyncio.sleep(0.005)
            job.send([70])
            job.end()
            assert (await client.response()).status == 200
            assert await client.is_closed()
            await client.close()
            await eventually(lambda: router.sessions == [])


async def test_what_prevents_a_start(model_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing):
        async with running_gateway(settings(tmp_path / "none", 1)):
            pass
    async with running_gateway(settings(model_directory, 1)) as (url, _):
        with pytest.raises(PortInUse):
            async with running_gateway(Settings(port=port_of(url), model=str(model_directory))):
                pass


def test_a_gateway_without_a_model_is_one_clear_error() -> None:
    with pytest.raises(BadSetting, match=r"^gateway: --model is needed"):
        load(Settings, service="gateway", flags={}, environ={}, file=None)
