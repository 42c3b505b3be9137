"""Both clients against a scripted gateway."""

import asyncio
import threading
from typing import Any

import pytest

from pdmesh.client import AsyncClient, CallOptions, Client, RetryPolicy, ServiceClass, Unreachable
from services.common.errors import (
    Cancelled,
    DeadlinePassed,
    InvalidField,
    MeshError,
    QuotaExceeded,
    RouterUnavailable,
)
from services.common.rpc import abort_with
from tests.wire.client.fake_gateway import WHOLE, FakeGateway, Script, running, token

SOON = RetryPolicy(backoff_ms=1.0)


def says(*numbers: int) -> Script:
    async def script(_request: Any, context: Any) -> None:
        for number in numbers:
            await context.write(token(number))
        await context.write(WHOLE)

    return script


def refuses(error: MeshError, *numbers: int) -> Script:
    async def script(_request: Any, context: Any) -> None:
        for number in numbers:
            await context.write(token(number))
        await abort_with(context, error)

    return script


async def hangs(_request: Any, context: Any) -> None:
    await context.write(token(1))
    await asyncio.Event().wait()


async def ends_early(_request: Any, context: Any) -> None:
    await context.write(token(1))


async def test_an_answer_streams() -> None:
    async with running(FakeGateway(says(1, 2, 3))) as address, AsyncClient(address) as mesh:
        stream = mesh.chat("m", "hi")
        assert [delta.text async for delta in stream] == ["1 ", "2 ", "3 "]
        assert stream.answer.text == "1 2 3 "
        assert stream.answer.request_id == "r"


async def test_the_synchronous_client_does_the_same() -> None:
    gateway = FakeGateway(refuses(RouterUnavailable(), 1), says(2, 3))
    async with running(gateway) as address:

        def ask() -> str:
            with Client(address, retries=SOON) as mesh, mesh.chat("m", "hi") as stream:
                assert [delta.text for delta in stream] == ["1 ", "2 ", "3 "]
                return stream.answer.text

        assert await asyncio.to_thread(ask) == "1 2 3 "
    assert list(gateway.asked[1].delivered[0].token_ids) == [1]


async def test_a_broken_stream_goes_on_at_the_next_gateway() -> None:
    first, second = FakeGateway(hangs), FakeGateway(says(2, 3))
    async with running(first) as one, running(second) as two, AsyncClient([one, two], retries=SOON) as mesh:
        stream = mesh.chat("m", "hi")
        assert (await anext(stream)).text == "1 "
        await first.server.server.stop(0)
        assert [delta.text async for delta in stream] == ["2 ", "3 "]
        assert stream.answer.choices[0].token_ids == [1, 2, 3]
    assert [list(d.token_ids) for d in second.asked[0].delivered] == [[1]]


async def test_a_stream_without_its_last_message_is_no_answer() -> None:
    gateway = FakeGateway(ends_early, says(2))
    async with running(gateway) as address, AsyncClient(address, retries=SOON) as mesh:
        assert (await mesh.chat("m", "hi").whole()).choices[0].token_ids == [1, 2]


async def test_retry_info_is_honoured() -> None:
    gateway = FakeGateway(refuses(QuotaExceeded(retry_after_ms=50)), says(1))
    async with running(gateway) as address, AsyncClient(address, retries=SOON) as mesh:
        began_s = asyncio.get_running_loop().time()
        await mesh.chat("m", "hi").whole()
        assert asyncio.get_running_loop().time() - began_s >= 0.05


async def test_the_callers_fault_is_raised_at_once_with_its_field() -> None:
    gateway = FakeGateway(refuses(InvalidField("temperature: too hot", field="temperature")))
    async with running(gateway) as address, AsyncClient(address) as mesh:
        with pytest.raises(InvalidField, match="too hot") as caught:
            await mesh.chat("m", "hi").whole()
    assert caught.value.field == "temperature"
    assert len(gateway.asked) == 1


async def test_nobody_there_is_unreachable() -> None:
    async with AsyncClient("127.0.0.1:1", retries=RetryPolicy(attempts_max=2, backoff_ms=1.0)) as mesh:
        with pytest.raises(Unreachable):
            await mesh.chat("m", "hi").whole()


async def test_the_deadline_travels_and_holds() -> None:
    gateway = FakeGateway(hangs)
    async with running(gateway) as address, AsyncClient(address) as mesh:
        with pytest.raises(DeadlinePassed):
            await mesh.chat("m", "hi", timeout_s=1.0).whole()
    (context,) = gateway.contexts
    assert context.time_remaining() <= 1.0


@pytest.mark.parametrize("how", ["close", "leave", "cancel"])
async def test_leaving_cancels(how: str) -> None:
    gateway = FakeGateway(hangs)
    async with running(gateway) as address, AsyncClient(address) as mesh:
        if how == "cancel":
            task = asyncio.create_task(mesh.chat("m", "hi").whole())
            while not gateway.asked:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            async with mesh.chat("m", "hi") as stream:
                await anext(stream)
                if how == "close":
                    stream.close()
                    with pytest.raises(Cancelled):
                        await anext(stream)
        while not gateway.cancelled:
            await asyncio.sleep(0.005)


async def test_closing_from_another_thread_ends_a_waiting_reader() -> None:
    gateway = FakeGateway(hangs)
    async with running(gateway) as address:
        mesh = Client(address)
        stream = mesh.chat("m", "hi")

        has_begun = threading.Event()

        def read() -> None:
            next(stream)
            has_begun.set()
            with pytest.raises(Cancelled):
                next(stream)

        reading = asyncio.create_task(asyncio.to_thread(read))
        while not has_begun.is_set():
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)  # it waits for the next one, most likely
        stream.close()
        await reading
        mesh.close()


async def test_credentials_and_options_go_out() -> None:
    gateway = FakeGateway(says(1))
    async with running(gateway) as address, AsyncClient(address, api_key="sk-1") as mesh:
        options = CallOptions(
            session_key="s", service_class=ServiceClass.BATCH, priority=-3, idempotency_key="k"
        )
        await mesh.chat("m", "hi", options=options).whole()
    sent = gateway.asked[0].options
    assert (sent.session_key, sent.service_class, sent.priority, sent.idempotency_key) == ("s", 3, -3, "k")
    said = {key: value for context in gateway.contexts for key, value in context.invocation_metadata()}
    assert said["authorization"] == "Bearer sk-1"


async def test_a_unary_call_is_tried_again_elsewhere() -> None:
    first, second = FakeGateway(refuses(RouterUnavailable())), FakeGateway(says_nothing)
    async with running(first) as one, running(second) as two, AsyncClient([one, two], retries=SOON) as mesh:
        assert await mesh.models() == {"m": 64}


async def says_nothing(_request: Any, _context: Any) -> None:
    return
