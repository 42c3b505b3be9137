"""vLLM's tool and reasoning parsers, which need no engine. Importing this imports vLLM."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.parser import ParserManager
from vllm.sampling_params import StructuredOutputsParams
from vllm.tokenizers import get_tokenizer

from services.common.domain import Structured, StructuredKind
from services.common.errors import BadSetting, InvalidField
from services.gateway.call.generation import ChatPrompt, Generation, ToolUse
from services.gateway.models.parsing.interface import AnswerReader
from services.gateway.models.parsing.readers import StreamReader, WholeReader
from services.gateway.models.parsing.refusal import refusal_of

_PARAMETERS = {
    StructuredKind.JSON_SCHEMA: "json",
    StructuredKind.REGEX: "regex",
    StructuredKind.GRAMMAR: "grammar",
    StructuredKind.STRUCTURAL_TAG: "structural_tag",
}


class VllmParsing:
    """The parsers of one model (a `Parsing`)."""

    def __init__(self, parser_type: Any, tokenizer: Any) -> None:
        self._parser_type = parser_type
        self._tokenizer = tokenizer
        self._has_tools = parser_type.tool_parser_cls is not None
        self._has_reasoning = parser_type.reasoning_parser_cls is not None

    @classmethod
    def load(cls, directory: Path, tool_call_parser: str, reasoning_parser: str) -> "VllmParsing":
        """Load the named parsers; raises `BadSetting`."""
        try:
            tokenizer = get_tokenizer(str(directory))
            parser_type = ParserManager.get_parser(
                tool_parser_name=tool_call_parser or None,
                reasoning_parser_name=reasoning_parser or None,
                enable_auto_tools=True,
                model_name=str(directory),
                tokenizer=tokenizer,
            )
        except Exception as error:  # whatever its plug-ins raise, the setting that names them is at fault
            reason = str(error).strip().partition("\n")[0]
            raise BadSetting(f"--tool-call-parser, --reasoning-parser: {reason}") from None
        return cls(parser_type, tokenizer)

    def reading_of(self, generation: Generation) -> "VllmReading | None":
        """How to read a call's answers; raises `InvalidField` for tools that cannot be asked for."""
        prompt = generation.prompts[0]
        tools = generation.tools
        if not isinstance(prompt, ChatPrompt):
            return None
        is_on = tools is not None and tools.is_on
        if is_on and not self._has_tools:
            raise InvalidField("tools: this gateway has no --tool-call-parser", field="tools")
        if not (is_on or self._has_reasoning):
            return None
        variables = dict(prompt.variables)
        try:
            request = self._request(generation, tools if is_on else None)
            parser = self._open(request, variables)
            request = parser.adjust_request(request)
        except Exception as error:  # models and parsers are vLLM's: whatever they raise is about this request
            raise refusal_of(error) from None
        return VllmReading(self, generation, request, variables, hides_reasoning=self._has_reasoning)

    def open(self, request: Any, variables: dict[str, Any]) -> Any:
        """A parser for one choice."""
        return self._open(request, variables)

    def _open(self, request: Any, variables: dict[str, Any]) -> Any:
        return self._parser_type(
            self._tokenizer, request.tools, chat_template_kwargs=variables, model_config=None
        )

    def _request(self, generation: Generation, tools: ToolUse | None) -> Any:
        """What parsers look at of a request. The messages are not among it."""
        fields: dict[str, Any] = {
            "messages": [],
            "stream": generation.is_stream,
            "include_reasoning": generation.includes_reasoning,
            "skip_special_tokens": not generation.shows_special,
            "structured_outputs": _to_vllm(generation.sampling.structured),
        }
        if tools is not None:
            fields["tools"] = list(tools.tools)
            fields["tool_choice"] = _choice(tools)
            fields["parallel_tool_calls"] = tools.in_parallel
        return ChatCompletionRequest.model_validate(fields)


class VllmReading:
    """How the answers of one call are to be read (a `Reading`)."""

    def __init__(
        self,
        parsing: VllmParsing,
        generation: Generation,
        request: Any,
        variables: dict[str, Any],
        *,
        hides_reasoning: bool,
    ) -> None:
        self.structured = _from_vllm(request.structured_outputs)
        self.shows_special = not request.skip_special_tokens
        self.hides_reasoning = hides_reasoning and not generation.includes_reasoning
        self._parsing = parsing
        self._generation = generation
        self._request = request
        self._variables = variables
        self._prompt: tuple[Sequence[int], list[int]] = ((), [])
        """The last prompt, and the list that parsers want of it; all its choices share that."""

    def open(self, prompt: Sequence[int]) -> AnswerReader:
        """A reader for one choice of a prompt; raises `InvalidField`."""
        if self._prompt[0] is not prompt:
            self._prompt = prompt, list(prompt)
        kind = StreamReader if self._generation.is_stream else WholeReader
        try:
            parser = self._parsing.open(self._request, self._variables)
            return kind(parser, self._request, self._prompt[1], self._generation.tools)
        except Exception as error:  # as above
            raise refusal_of(error) from None


def _choice(tools: ToolUse) -> Any:
    if tools.named:
        return {"type": "function", "function": {"name": tools.named}}
    return tools.choice


def _to_vllm(structured: Structured | None) -> Any:
    if structured is None:
        return None
    if structured.kind is StructuredKind.JSON_OBJECT:
        return StructuredOutputsParams(json_object=True)
    if structured.kind is StructuredKind.CHOICE:
        return StructuredOutputsParams(choice=json.loads(structured.value))
    return StructuredOutputsParams(**{_PARAMETERS[structured.kind]: structured.value})


def _from_vllm(params: Any) -> Structured | None:
    if params is None:
        return None
    if params.json_object:
        return Structured(StructuredKind.JSON_OBJECT)
    if params.choice is not None:
        return Structured(StructuredKind.CHOICE, json.dumps(params.choice))
    for kind, name in _PARAMETERS.items():
        value = getattr(params, name)
        if value is not None:
            return Structured(kind, value if isinstance(value, str) else json.dumps(value))
    return None
