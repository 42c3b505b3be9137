"""Requests as the bodies of the REST API, so that both edges have the same fields, ranges and errors."""

import dataclasses
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from google.protobuf import json_format

from pdmesh.inference.v1 import inference_pb2, prompt_pb2, sampling_pb2
from services.common.domain.tokens import tokens
from services.common.errors import InvalidField
from services.common.limits import DEFAULTS, Limits
from services.gateway.call.generation import Generation, Prompt, TextPrompt, TokenPrompt
from services.gateway.models.served import ServedModel
from services.gateway.rest.openai.chat import parse_chat
from services.gateway.rest.openai.completion import parse_completion
from services.gateway.rest.openai.json_elements import check_elements

Request = inference_pb2.ChatRequest | inference_pb2.CompleteRequest | inference_pb2.GenerateRequest
Body = dict[str, Any]

SLICE = 16_384
"""So many token ids are copied in one step; other threads run between two."""

_GIVEN = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
)
_LISTS = ("stop", "stop_token_ids", "bad_words", "allowed_token_ids")
_NUMBERS = ("max_tokens", "min_tokens", "n")
_MODES = {
    prompt_pb2.ToolChoice.MODE_AUTO: "auto",
    prompt_pb2.ToolChoice.MODE_NONE: "none",
    prompt_pb2.ToolChoice.MODE_REQUIRED: "required",
}
_FORMS = {"json_schema": "json", "regex": "regex", "grammar": "grammar"}


def chat(request: inference_pb2.ChatRequest, limits: Limits) -> Generation:
    """A conversation; raises `InvalidField`."""
    body = _with_sampling(request, request.sampling) | conversation(request)
    if request.sampling.HasField("logprobs"):
        body |= {"logprobs": True, "top_logprobs": request.sampling.logprobs}
    if request.HasField("tool_choice"):
        body["tool_choice"] = _tool_choice(request.tool_choice)
    if request.HasField("parallel_tool_calls"):
        body["parallel_tool_calls"] = request.parallel_tool_calls
    return _parsed(parse_chat, body, request, limits)


def complete(request: inference_pb2.CompleteRequest, limits: Limits) -> Generation:
    """A text to go on from; raises `InvalidField`."""
    body = _with_sampling(request, request.sampling) | {"prompt": request.prompt}
    if request.echo:
        body["echo"] = True
    return _parsed(parse_completion, body | _plain_logprobs(request.sampling), request, limits)


def generate(request: inference_pb2.GenerateRequest, limits: Limits) -> Generation:
    """Tokens to go on from; raises `InvalidField`. The ids do not pass through a body: they may be many."""
    body = _with_sampling(request, request.sampling) | {"prompt": [0]}
    parsed = _parsed(parse_completion, body | _plain_logprobs(request.sampling), request, limits)
    prompt = TokenPrompt(_ids(request.prompt_token_ids, "prompt_token_ids", limits))
    # Stop texts are found in text only.
    has_text = bool(parsed.stops)
    return dataclasses.replace(parsed, prompts=(prompt,), max_tokens_default=0, returns_text=has_text)


def prompt_of(request: inference_pb2.TokenizeRequest, limits: Limits) -> Prompt:
    """A text or a conversation; raises `InvalidField`."""
    if not request.messages:
        return TextPrompt(request.text)
    body = {"model": request.model, **conversation(request)}
    return parse_chat(msgspec.json.encode(body), limits).prompts[0]


def tokens_of(request: inference_pb2.DetokenizeRequest, limits: Limits) -> TokenPrompt:
    """The tokens of which the text is wanted; raises `InvalidField`."""
    return TokenPrompt(_ids(request.token_ids, "token_ids", limits), "token_ids")


def tokenized(prompt: Prompt, model: ServedModel) -> inference_pb2.TokenizeResponse:
    """The tokens of a prompt, as a message."""
    ids = prompt.render(model.renderer, model.model_len)
    made = inference_pb2.TokenizeResponse(max_model_len=model.model_len)
    for start in range(0, len(ids), SLICE):
        made.token_ids.extend(ids[start : start + SLICE])
    return made


def conversation(request: "inference_pb2.ChatRequest | inference_pb2.TokenizeRequest") -> Body:
    """Messages, and what templates see beside them."""
    body: Body = {"messages": [_message(message) for message in request.messages]}
    if request.tools:
        body["tools"] = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(request.tools)]
    if request.HasField("template_variables"):
        body["chat_template_kwargs"] = json_format.MessageToDict(request.template_variables)
    return body


def _parsed(
    parse: Callable[[bytes, Limits], Generation], body: Body, request: Request, limits: Limits
) -> Generation:
    options = request.options
    return dataclasses.replace(
        parse(msgspec.json.encode(body), limits),
        returns_token_ids=True,
        strict_disaggregation=options.strict_disaggregation,
        session_key=options.session_key,
        priority=options.priority,
        delivered=_delivered(request.delivered, max(1, request.sampling.n), limits),
    )


def _ids(given: Sequence[int], name: str, limits: Limits) -> "array[int]":
    """Token ids as a column; raises `InvalidField` for too many."""
    if len(given) > limits.token_ids_max:
        raise InvalidField(f"{name}: at most {limits.token_ids_max} token ids", field=name)
    made = tokens()
    for start in range(0, len(given), SLICE):  # in one step no other thread would run meanwhile
        made.extend(given[start : start + SLICE])
    return made


def _delivered(given: Iterable[inference_pb2.Delivered], choices: int, limits: Limits) -> dict[int, Any]:
    found = {entry.index: _ids(entry.token_ids, "delivered", limits) for entry in given}
    if found and max(found) >= choices:
        raise InvalidField(f"delivered: there are {choices} choices, counted from 0", field="delivered")
    return found


def _with_sampling(request: Request, sampling: sampling_pb2.Sampling) -> Body:
    """The fields that all three calls share, under OpenAI's and vLLM's names; absent ones stay absent."""
    body: Body = {"model": request.model, "stream": True}
    if not isinstance(request, inference_pb2.GenerateRequest) and request.HasField("retrieval"):
        body["retrieval"] = _retrieval(request.retrieval)
    body |= {name: getattr(sampling, name) for name in _GIVEN if sampling.HasField(name)}
    body |= {name: value for name in _NUMBERS if (value := getattr(sampling, name))}
    body |= {name: list(value) for name in _LISTS if (value := getattr(sampling, name))}
    if sampling.include_stop:
        body["include_stop_str_in_output"] = True
    if sampling.ignore_eos:
        body["ignore_eos"] = True
    if sampling.logit_bias:
        body["logit_bias"] = {str(token_id): bias for token_id, bias in sampling.logit_bias.items()}
    if sampling.HasField("structured_output"):
        body["structured_outputs"] = _structured(sampling.structured_output)
    return body


def _retrieval(asked: prompt_pb2.Retrieval) -> Body:
    return {
        "collection": asked.collection,
        "query": asked.query,
        "passages_max": asked.passages_max,
        "tokens_max": asked.tokens_max,
        "required": asked.required,
    }


def _plain_logprobs(sampling: sampling_pb2.Sampling) -> Body:
    return {"logprobs": sampling.logprobs} if sampling.HasField("logprobs") else {}


def _structured(form: sampling_pb2.StructuredOutput) -> Body:
    kind = form.WhichOneof("form")
    if kind is None:
        raise InvalidField("structured_output: names no form", field="structured_output")
    if kind == "json_object":
        return {"json_object": True}
    if kind == "choices":
        return {"choice": list(form.choices.values)}
    return {_FORMS[kind]: getattr(form, kind)}


def _message(message: prompt_pb2.Message) -> Body:
    made: Body = {"role": message.role, "content": message.content}
    if message.name:
        made["name"] = message.name
    if message.tool_call_id:
        made["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        made["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return made


def _tool(tool: prompt_pb2.Tool, at: str) -> Body:
    function: Body = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters:
        try:
            check_elements(tool.parameters.encode(), DEFAULTS, f"{at}.parameters")
            function["parameters"] = msgspec.json.decode(tool.parameters)
        except msgspec.DecodeError as error:
            raise InvalidField(
                f"{at}.parameters: not valid JSON: {error}", field=f"{at}.parameters"
            ) from None
    return {"type": "function", "function": function}


def _tool_choice(choice: prompt_pb2.ToolChoice) -> Any:
    if choice.WhichOneof("choice") == "function":
        return {"type": "function", "function": {"name": choice.function}}
    return _MODES.get(choice.mode, "auto")
