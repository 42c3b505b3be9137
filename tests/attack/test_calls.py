"""What a gRPC call may be made of, who is let in before it is read, and what it learns of the gateway."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import struct_pb2

from pdmesh.inference.v1 import inference_pb2 as api
from pdmesh.inference.v1 import prompt_pb2
from services.common.limits import DEFAULTS
from tests.attack.conftest import Besiege
from tests.attack.hold_watch import watched_loop
from tests.attack.siege import Siege

SERVICE = "/pdmesh.inference.v1.InferenceService/"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
METHODS = {
    "Chat": api.ChatRequest,
    "Complete": api.CompleteRequest,
    "Generate": api.GenerateRequest,
    "Tokenize": api.TokenizeRequest,
    "Detokenize": api.DetokenizeRequest,
    "ListModels": api.ListModelsRequest,
}
SIZE = DEFAULTS.body_size_bytes_max - 4096


def of(siege: Siege, tenant: str) -> tuple[tuple[str, str], ...]:
    """The metadata that says who asks."""
    return (("authorization", f"Bearer {siege.keys[tenant]}"),) if tenant else ()


async def call(
    siege: Siege, method: str, data: bytes, tenant: str = "mallory"
) -> tuple[grpc.StatusCode, str]:
    """Call with bytes, whatever they are; how it ends."""
    async with grpc.aio.insecure_channel(siege.edge.grpc) as channel:
        made = channel.unary_stream(SERVICE + method)(data, metadata=of(siege, "mallory"))
        try:
            async for _ in made:
                pass
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        return await made.code(), ""


@pytest.mark.parametrize("method", METHODS)
async def test_an_undecodable_message_is_its_sender_s_error(besieged: Besiege, method: str) -> None:
    async with besieged() as siege:
        for data in (b"\xff\xff\xff", b"\x0a\x7f", b"\x0a\x02\xff\xfe", b"\x0b" * 70_000):
            code, details = await call(siege, method, data)
            if code is grpc.StatusCode.OK:  # a field that the message does not have
                assert method == "ListModels"
                continue
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert METHODS[method].DESCRIPTOR.full_name in details or "field" in details
            for name in ("Error", "Exception", "google", "Python", "<class"):
                assert name not in details


@pytest.mark.parametrize("method", [*METHODS, "/pdmesh.inference.v1.InferenceService/Nothing"])
async def test_strangers_are_refused_before_their_message(besieged: Besiege, method: str) -> None:
    """The message never comes here; what is refused has been decided by the metadata alone."""
    async with besieged() as siege, grpc.aio.insecure_channel(siege.edge.grpc) as channel:
        name = method if "/" in method else SERVICE + method
        made = channel.stream_stream(name)(metadata=(("authorization", "Bearer wrong"),))
        assert await made.code() is grpc.StatusCode.UNAUTHENTICATED
        assert await siege.innocent() == [200] * 5


def field(kind: Any, name: str, content: bytes) -> bytes:
    """A field with a length, by the name that a message knows it by."""
    size, written = len(content), b""
    while size > 0x7F:
        written += bytes([size & 0x7F | 0x80])
        size >>= 7
    number = kind.DESCRIPTOR.fields_by_name[name].number
    return bytes([number << 3 | 2]) + written + bytes([size]) + content


def deep_value(depth: int) -> bytes:
    """A list in a list in a list."""
    made = b""
    for _ in range(depth):
        made = field(struct_pb2.Value, "list_value", field(struct_pb2.ListValue, "values", made))
    return made


def shapes() -> dict[str, tuple[str, bytes]]:
    """Messages that cost most, by what they are made of."""
    chat = api.ChatRequest(model="tiny", messages=[prompt_pb2.Message(role="user", content="Hi")])
    plain = chat.SerializeToString()
    entry = field(struct_pb2.Struct.FieldsEntry, "value", deep_value(80))
    variables = field(struct_pb2.Struct, "fields", entry)
    listed = field(struct_pb2.Value, "list_value", b"\x0a\x02\x08\x00" * (SIZE // 4 - 100))
    listed = field(struct_pb2.Struct, "fields", field(struct_pb2.Struct.FieldsEntry, "value", listed))
    ids, shown = api.GenerateRequest, api.DetokenizeRequest
    return {
        "empty messages": ("Chat", field(api.ChatRequest, "messages", b"") * (SIZE // 2)),
        "messages of nothing": ("Tokenize", field(api.TokenizeRequest, "messages", b"") * (SIZE // 2)),
        "unknown fields": ("Chat", plain + b"\xf8\x07\x01" * (SIZE // 3 - 100)),
        "a list of nulls": ("Chat", plain + field(api.ChatRequest, "template_variables", listed)),
        "deep nesting": (
            "Chat",
            plain + field(api.ChatRequest, "template_variables", variables) + plain * 4_000,
        ),
        "token ids": ("Generate", field(ids, "prompt_token_ids", b"\x01" * (SIZE - 100))),
        "ids to show": ("Detokenize", field(shown, "token_ids", b"\x01" * (SIZE - 100))),
        "text": (
            "Complete",
            api.CompleteRequest(model="tiny", prompt="[],{}:" * (SIZE // 6 - 100)).SerializeToString(),
        ),
    }


async def test_the_worst_messages(besieged: Besiege) -> None:
    async with besieged() as siege:
        for name, (method, data) in shapes().items():
            with watched_loop() as watch:
                code, details = await call(siege, method, data)
            assert code is grpc.StatusCode.INVALID_ARGUMENT, (name, details)
            assert watch.held_ms < 50.0, f"{name}: {watch.held_ms:.0f} ms by {watch.by}"
        assert await siege.innocent() == [200] * 5


async def test_as_much_as_may_be_is_taken(besieged: Besiege) -> None:
    async with besieged() as siege:
        turns = [prompt_pb2.Message(role="user", content="Hi there, " + "x" * 60)] * 1_500
        code, details = await call(
            siege, "Chat", api.ChatRequest(model="tiny", messages=turns).SerializeToString()
        )
        assert (code, "context" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        ids = api.TokenizeRequest(model="tiny", text="a b " * 20_000).SerializeToString()
        code, details = await call(siege, "Tokenize", ids)
        assert (code, "context" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def reflect(siege: Siege, tenant: str) -> grpc.StatusCode:
    """Ask for the services, as grpcurl does."""
    async with grpc.aio.insecure_channel(siege.edge.grpc) as channel:
        made = channel.stream_stream(REFLECTION)(iter([b"\x3a\x01*"]), metadata=of(siege, tenant))
        await asyncio.wait({asyncio.ensure_future(made.read()), asyncio.ensure_future(made.code())},
                           return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
        code = await made.code() if made.done() else grpc.StatusCode.OK
        made.cancel()
        return code


async def test_reflection_follows_the_setting(besieged: Besiege) -> None:
    ok, unknown, refused = (
        grpc.StatusCode.OK,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    )
    expected = {
        "everybody": {"": ok, "mallory": ok, "root": ok},
        "tenants": {"": unknown, "mallory": ok, "root": ok},
        "admins": {"": unknown, "mallory": refused, "root": ok},
    }
    for audience, by_tenant in expected.items():
        async with besieged(internals_for=audience) as siege:
            assert {tenant: await reflect(siege, tenant) for tenant in by_tenant} == by_tenant, audience
