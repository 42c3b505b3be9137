"""A model's chat template, run as Hugging Face's libraries run it."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.common.errors import InvalidField, ModelMissing


class ChatTemplate:
    """Renders messages to the prompt's text."""

    def __init__(self, source: str, named_tokens: Mapping[str, str]) -> None:
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise ModelMissing(f"the model's chat template does not compile: {error}") from None
        self._named_tokens = dict(named_tokens)
        self._knows_developer = "developer" in source

    def render(self, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
        """The prompt, ending where the assistant is to go on; raises `InvalidField` on what it refuses."""
        if not self._knows_developer:
            messages = [_as_system(message) for message in messages]
        own = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": True}
        try:
            return self._template.render({**self._named_tokens, **variables, **own})
        except Exception as error:  # a template is the model's code: whatever it raises is about the messages
            raise InvalidField(
                f"the model's chat template refuses the messages: {error}", field="messages"
            ) from None


def _as_system(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """OpenAI's `developer` role under the name that most templates know it by."""
    return {**message, "role": "system"} if message["role"] == "developer" else message


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda pattern: datetime.now().astimezone().strftime(pattern)
    return environment


class _GenerationTag(jinja2.ext.Extension):
    """`{% generation %}` marks the assistant's words for training; here it only groups."""

    tags = {"generation"}  # noqa: RUF012 - jinja's own declaration

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON: jinja's own filter would escape HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
