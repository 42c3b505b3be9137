"""Messages that cannot be decoded, or should not be, are their sender's error."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from services.common.errors import Invalid, InvalidField, MeshError
from services.common.rpc.status import abort_with

CheckMessage = Callable[[type[Message], bytes], None]
"""Raises a `MeshError` for a message that is not even to be decoded."""


class Decoding(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Answers INVALID_ARGUMENT where gRPC's own library says INTERNAL and quotes a Python exception.

    Only methods that take one message: a stream between processes that cannot be decoded ends as it may.
    """

    def __init__(self, check: CheckMessage | None = None) -> None:
        self._check = check
        self._handlers: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """See `grpc.aio.ServerInterceptor`."""
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming or handler.request_deserializer is None:
            return handler
        self._handlers[method] = made = self._guarded(handler)
        return made

    def _guarded(self, handler: Any) -> Any:
        kind = getattr(handler.request_deserializer, "__self__", None)
        if not isinstance(kind, type):
            return handler
        inner = handler.unary_stream if handler.response_streaming else handler.unary_unary
        if not inspect.iscoroutinefunction(inner):
            return handler
        make = grpc.unary_unary_rpc_method_handler
        if handler.response_streaming:
            make = grpc.unary_stream_rpc_method_handler
        return make(
            _refusing(inner),
            request_deserializer=functools.partial(self._decoded, kind, handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    def _decoded(self, kind: type[Message], decode: Callable[[bytes], Message], data: bytes) -> Any:
        """The message, or the error that stands for it: what is raised here would become INTERNAL."""
        try:
            if self._check is not None:
                self._check(kind, data)
            return decode(data)
        except MeshError as error:
            return error
        except DecodeError:
            return InvalidField(f"the message is no {kind.DESCRIPTOR.full_name}")


def _refusing(inner: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        if isinstance(request, Invalid):
            await abort_with(context, request)
        return await inner(request, context)

    return answer
