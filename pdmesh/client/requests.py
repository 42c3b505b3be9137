"""The messages that both clients send."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format, struct_pb2

from pdmesh.client.options import CallOptions
from pdmesh.client.prompt import Message, Retrieval, Tool, messages_to_wire, tool_choice_to_wire
from pdmesh.client.sampling import Sampling
from pdmesh.inference.v1 import inference_pb2


def chat_request(
    model: str,
    messages: str | Sequence[Message],
    sampling: Sampling,
    options: CallOptions,
    tools: Sequence[Tool],
    tool_choice: str,
    parallel_tool_calls: bool | None,
    template_variables: Mapping[str, Any] | None,
    retrieval: Retrieval | None,
) -> inference_pb2.ChatRequest:
    """A conversation's next message."""
    return inference_pb2.ChatRequest(
        model=model,
        messages=messages_to_wire(messages),
        sampling=sampling.to_wire(),
        options=options.to_wire(),
        tools=[tool.to_wire() for tool in tools],
        tool_choice=tool_choice_to_wire(tool_choice),
        parallel_tool_calls=parallel_tool_calls,
        template_variables=_struct(template_variables),
        retrieval=None if retrieval is None else retrieval.to_wire(),
    )


def complete_request(
    model: str,
    prompt: str,
    sampling: Sampling,
    options: CallOptions,
    echo: bool,
    retrieval: Retrieval | None,
) -> inference_pb2.CompleteRequest:
    """A text to go on from."""
    return inference_pb2.CompleteRequest(
        model=model,
        prompt=prompt,
        sampling=sampling.to_wire(),
        options=options.to_wire(),
        echo=echo,
        retrieval=None if retrieval is None else retrieval.to_wire(),
    )


def generate_request(
    model: str, token_ids: Sequence[int], sampling: Sampling, options: CallOptions
) -> inference_pb2.GenerateRequest:
    """Tokens to go on from."""
    return inference_pb2.GenerateRequest(
        model=model, prompt_token_ids=token_ids, sampling=sampling.to_wire(), options=options.to_wire()
    )


def tokenize_request(
    model: str,
    text: str | Sequence[Message],
    tools: Sequence[Tool],
    template_variables: Mapping[str, Any] | None,
) -> inference_pb2.TokenizeRequest:
    """A text, or a conversation."""
    return inference_pb2.TokenizeRequest(
        model=model,
        text=text if isinstance(text, str) else "",
        messages=[] if isinstance(text, str) else messages_to_wire(text),
        tools=[tool.to_wire() for tool in tools],
        template_variables=_struct(template_variables),
    )


def _struct(variables: Mapping[str, Any] | None) -> struct_pb2.Struct | None:
    if variables is None:
        return None
    return json_format.ParseDict(dict(variables), struct_pb2.Struct())
