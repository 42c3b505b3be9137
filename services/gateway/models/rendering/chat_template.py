"""A model's chat template, run as Hugging Face's libraries run it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import jinja2

from services.common.errors import InvalidField, ModelMissing
from services.gateway.models.rendering.environment import environment
from services.gateway.models.rendering.plain_roles import in_plain_roles
from services.gateway.models.rendering.shapes import Shapes

_DEFAULTS = {"tools": None, "documents": None, "add_generation_prompt": True}
_END_MARK = "\ufdd0end\ufdd0"
"""Put behind the last message's text to find where it ends; U+FDD0 is no character and stands in no text."""


class ChatTemplate:
    """Renders messages to the prompt's text."""

    def __init__(self, source: str, named_tokens: Mapping[str, str]) -> None:
        try:
            self._template = environment().from_string(source)
            # Every rendering copies the globals, and those of a template are a chain of maps in plain Python.
            self._template.globals = dict(self._template.globals)
        except jinja2.TemplateError as error:
            raise ModelMissing(f"the model's chat template does not compile: {error}") from None
        self._named_tokens = dict(named_tokens)
        self._shapes = Shapes(source, {**_DEFAULTS, **named_tokens})
        self._knows_developer = "developer" in source

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        variables: Mapping[str, Any],
        *,
        continues_last: bool = False,
    ) -> str:
        """The prompt, ending where the assistant is to go on; raises `InvalidField` on what it refuses.

        With `continues_last` it ends with the last message's text, so that the answer goes on in it.
        """
        if not self._knows_developer:
            messages = [_as_system(message) for message in messages]
        if not continues_last:
            return self._render_somehow(messages, variables)
        last = {**messages[-1], "content": f"{messages[-1]['content']}{_END_MARK} "}
        return _cut_at_mark(self._render_somehow([*messages[:-1], last], variables))

    def _render_somehow(self, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
        """The prompt, in plainer roles where the template refuses the messages' own."""
        try:
            return self._render(messages, variables)
        except InvalidField as error:
            for plainer in in_plain_roles(messages):
                if plainer != messages:
                    with suppress(InvalidField):
                        return self._render(plainer, variables)
            raise error

    def _render(self, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
        shaped = self._shapes.render(messages, variables)
        if shaped is not None:
            return shaped
        try:
            return self._template.render(
                {**_DEFAULTS, **self._named_tokens, **variables, "messages": messages}
            )
        except Exception as error:  # a template is the model's code: whatever it raises is about the messages
            raise InvalidField(
                f"the model's chat template refuses the messages: {error}", field="messages"
            ) from None


def _cut_at_mark(text: str) -> str:
    """What comes before the mark; where the template trims messages, so does this."""
    before, mark, after = text.rpartition(_END_MARK)
    if not mark:
        raise InvalidField("the model's chat template leaves out the last message's end", field="messages")
    return before if after.startswith(" ") else before.rstrip()


def _as_system(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """OpenAI's `developer` role under the name that most templates know it by."""
    return {**message, "role": "system"} if message["role"] == "developer" else message
