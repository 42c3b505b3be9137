"""The synchronous client."""

import random
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any

import grpc

from pdmesh.client.channels import Channels, channel_options, metadata
from pdmesh.client.course import Course, Request
from pdmesh.client.errors import error_of
from pdmesh.client.options import CallOptions, RetryPolicy
from pdmesh.client.prompt import Message, Retrieval, Tool
from pdmesh.client.requests import chat_request, complete_request, generate_request, tokenize_request
from pdmesh.client.retry import Retrier, RetryBudget, calls_for_another_gateway
from pdmesh.client.sampling import Sampling
from pdmesh.client.stream import Stream
from pdmesh.inference.v1 import inference_pb2, inference_pb2_grpc
from services.common.clock import Clock, MonotonicClock

UNARY_TIMEOUT_S = 30.0


class Client:
    """A mesh, by the address of one gateway or of several; threads may share it.

    with Client("127.0.0.1:8001", api_key="...") as mesh:
        answer = mesh.chat("demo", "Hello", Sampling(max_tokens=64)).whole()
        print(answer.text, answer.usage)

    Calls are tried again as `retries` says. A stream that broke goes on at the next gateway after the tokens
    that came. With `credentials` (`grpc.ssl_channel_credentials(...)`) the connection is TLS. `timeout_s` is
    for the whole call, all attempts included; the mesh knows what is left of it.
    """

    def __init__(
        self,
        gateways: str | Sequence[str],
        *,
        api_key: str = "",
        credentials: grpc.ChannelCredentials | None = None,
        retries: RetryPolicy = RetryPolicy(),
        extra_metadata: Sequence[tuple[str, str]] = (),
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._channels: Channels[grpc.Channel] = Channels(gateways, partial(_open_channel, credentials))
        self._metadata = metadata(api_key, extra_metadata)
        self._retries = retries
        self._budget = RetryBudget(retries)
        self._clock = clock or MonotonicClock()
        self._rng = rng or random.Random()
        self._closed = threading.Event()

    def close(self) -> None:
        """Close all connections; what runs is cancelled."""
        self._closed.set()
        for channel in self._channels.take_all():
            channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def chat(
        self,
        model: str,
        messages: str | Sequence[Message],
        sampling: Sampling = Sampling(),
        *,
        tools: Sequence[Tool] = (),
        tool_choice: str = "",
        parallel_tool_calls: bool | None = None,
        template_variables: Mapping[str, Any] | None = None,
        retrieval: Retrieval | None = None,
        options: CallOptions = CallOptions(),
        timeout_s: float | None = None,
    ) -> Stream:
        """A conversation's next message; a bare text is what its user says.

        `tool_choice` is "auto", "none", "required" or a function's name.
        """
        made = chat_request(
            model, messages, sampling, options, tools, tool_choice, parallel_tool_calls,
            template_variables, retrieval,
        )  # fmt: skip
        return self._stream("Chat", made, timeout_s)

    def complete(
        self,
        model: str,
        prompt: str,
        sampling: Sampling = Sampling(),
        *,
        echo: bool = False,
        retrieval: Retrieval | None = None,
        options: CallOptions = CallOptions(),
        timeout_s: float | None = None,
    ) -> Stream:
        """A text goes on."""
        made = complete_request(model, prompt, sampling, options, echo, retrieval)
        return self._stream("Complete", made, timeout_s)

    def generate(
        self,
        model: str,
        token_ids: Sequence[int],
        sampling: Sampling = Sampling(),
        *,
        options: CallOptions = CallOptions(),
        timeout_s: float | None = None,
    ) -> Stream:
        """Token ids in, token ids out."""
        return self._stream("Generate", generate_request(model, token_ids, sampling, options), timeout_s)

    def models(self) -> dict[str, int]:
        """The longest prompt and answer together, in tokens, by the name of each model served."""
        response = self._unary("ListModels", inference_pb2.ListModelsRequest())
        return {model.name: model.max_model_len for model in response.models}

    def tokenize(
        self,
        model: str,
        text: str | Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        template_variables: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """The tokens of a text, or of a conversation as `chat` sees it."""
        return list(
            self._unary("Tokenize", tokenize_request(model, text, tools, template_variables)).token_ids
        )

    def detokenize(self, model: str, token_ids: Sequence[int]) -> str:
        """The text of tokens."""
        request = inference_pb2.DetokenizeRequest(model=model, token_ids=token_ids)
        return str(self._unary("Detokenize", request).text)

    def _stream(self, method: str, request: Request, timeout_s: float | None) -> Stream:
        course = Course(request, self._retrier(timeout_s))
        return Stream(course, self._channels, partial(self._open, method))

    def _retrier(self, timeout_s: float | None) -> Retrier:
        return Retrier(self._retries, self._budget, self._clock, self._rng, timeout_s)

    def _open(self, method: str, channel: grpc.Channel, request: Any, timeout_s: float | None) -> Any:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        return getattr(stub, method)(request, metadata=self._metadata, timeout=timeout_s)

    def _unary(self, method: str, request: Any) -> Any:
        retrier = self._retrier(UNARY_TIMEOUT_S)
        while True:
            channel = self._channels.current
            try:
                answer = self._open(method, channel, request, retrier.time_left_s())
            except grpc.RpcError as failure:
                error = error_of(failure)
                wait_ms = retrier.wait_ms(error)
                if calls_for_another_gateway(error):
                    self._channels.leave(channel)
                self._closed.wait(wait_ms / 1000.0)
            else:
                retrier.succeeded()
                return answer


def _open_channel(credentials: grpc.ChannelCredentials | None, address: str) -> grpc.Channel:
    options = channel_options()
    if credentials is None:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, credentials, options=options)
