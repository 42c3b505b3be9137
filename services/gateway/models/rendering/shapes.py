"""Conversations of one shape differ in their texts alone: a template is run once for all of them.

A shape is the roles, which texts are empty or end in blanks, and what else the template is given. The
template is run with texts that it can pass on and nothing else; what comes out is the prompt of every
conversation of that shape. A template that looks into a text is run each time, as are conversations with more
than texts.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.utils import Namespace

from services.gateway.models.rendering.environment import TemplateEnvironment, environment
from services.gateway.models.rendering.opaque import CLOSE, OPEN, Looked, Opaque

SHAPES_MAX = 256
"""Past it all are forgotten, and learnt again."""
MESSAGES_MAX = 64
"""Longer conversations are run each time, as few are of one shape."""
FAILURES_MAX = 8
"""Shapes in which a template looked into texts, after which it is not asked about more."""

_Messages = Sequence[Mapping[str, Any]]
_Prompt = Sequence[str | int]
"""Texts of the template, and numbers of messages whose text stands there."""

_LOSING = (
    *(nodes.Concat, nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.AssignBlock),
    *(nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends),
)
"""What makes plain strings of texts, into which could be looked unseen."""
_PASSING = frozenset(
    (
        *("count", "d", "default", "first", "items", "last", "length", "list", "map", "reject", "rejectattr"),
        *("reverse", "select", "selectattr", "string", "tojson", "trim"),
    )
)
"""Filters that pass values on, or ask texts in ways that these notice."""
_NAME_CHARS_MAX = 64
_VARIABLES_MAX = 16
_NUMBER = re.compile(f"{OPEN}([0-9]+){CLOSE}")


class Shapes:
    """Prompts by shape. Thread-safe: who learns a shape twice learns the same."""

    def __init__(self, source: str, named: Mapping[str, Any]) -> None:
        self._named = dict(named)
        self._prompts: dict[Any, _Prompt | None] = {}
        self._failures = 0
        probing = environment(_ProbingEnvironment)
        loses = next(probing.parse(source).find_all(_LOSING), None) is not None
        self._template = None if loses else probing.from_string(source)

    def render(self, messages: _Messages, variables: Mapping[str, Any]) -> str | None:
        """The prompt, as the template would render it; `None` where it has to."""
        if self._template is None or not 0 < len(messages) <= MESSAGES_MAX:
            return None
        shape = _shape(messages, variables)
        if shape is None:
            return None
        prompt = self._prompts.get(shape, _UNKNOWN)
        if prompt is _UNKNOWN:
            prompt = self._learn(self._template, shape, messages, variables)
        if prompt is None:
            return None
        return "".join([part if type(part) is str else messages[part]["content"] for part in prompt])

    def _learn(
        self, template: jinja2.Template, shape: Any, messages: _Messages, variables: Mapping[str, Any]
    ) -> _Prompt | None:
        if self._failures >= FAILURES_MAX:
            return None
        texts = [
            Opaque.of(number, is_empty=is_empty, is_trimmed=is_trimmed)
            for number, (_, is_empty, is_trimmed) in enumerate(shape[0])
        ]
        opaque = [{"role": m["role"], "content": text} for m, text in zip(messages, texts, strict=True)]
        try:
            text = template.render({**self._named, **variables, "messages": opaque})
        except Looked:
            self._failures += 1
            prompt = None
        except Exception:  # it refuses such messages, and says so when it is run for them
            return None
        else:
            prompt = _parts(text)
        if len(self._prompts) >= SHAPES_MAX:
            self._prompts.clear()
        self._prompts[shape] = prompt
        return prompt


_UNKNOWN: Any = object()


def _shape(messages: _Messages, variables: Mapping[str, Any]) -> Any:
    """What a conversation shares with others; `None` where it has more than texts."""
    described = []
    for message in messages:
        role, content = message["role"], message["content"]
        if len(message) != 2 or type(content) is not str or len(role) > _NAME_CHARS_MAX:
            return None
        described.append((role, not content, not (content[:1].isspace() or content[-1:].isspace())))
    given = tuple(variables.items())
    if len(given) > _VARIABLES_MAX or not all(map(_is_brief, (*variables, *variables.values()))):
        return None
    return tuple(described), given, tuple([type(value) for _, value in given])


def _is_brief(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _NAME_CHARS_MAX
    return value is None or type(value) in (bool, int)


def _parts(text: str) -> _Prompt:
    """The template's own texts, and the numbers of messages between them."""
    parts: list[str | int] = list(_NUMBER.split(text))
    parts[1::2] = map(int, parts[1::2])
    return [part for part in parts if part != ""]


class _ProbingEnvironment(TemplateEnvironment):
    """Lets texts only be passed on, and nothing be asked that may change."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.globals["lipsum"] = _refuse

    def from_string(self, *arguments: Any, **options: Any) -> jinja2.Template:
        """Compile; by now all filters are there."""
        self.globals["strftime_now"] = _refuse
        self.filters = {name: _noticing(name, filter_) for name, filter_ in self.filters.items()}
        return super().from_string(*arguments, **options)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Nothing of a text itself."""
        return _refuse() if isinstance(obj, Opaque) else super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Nothing of a text itself."""
        return _refuse() if isinstance(obj, Opaque) else super().getitem(obj, argument)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as jinja has it
        """What gets texts only keeps them."""
        given = (*args, *(value for name, value in kwargs.items() if name not in _OF_JINJA))
        if __obj is not Namespace and not all(map(_is_plain, given)):
            raise Looked
        return super().call(__context, __obj, *args, **kwargs)


_OF_JINJA = ("_block_vars", "_loop_vars")
"""What compiled templates hand to every call beside its arguments."""


def _refuse(*_: object) -> Any:
    raise Looked


def _noticing(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that gets texts only where it passes them on."""

    @functools.wraps(filter_)
    def noticing(*args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        if name == "random" or any(map(_holds_text, given)):
            raise Looked
        if name not in _PASSING and not all(map(_is_plain, given)):
            raise Looked
        made = filter_(*args, **kwargs)
        if name == "tojson" and OPEN in made:
            raise Looked
        return made

    return noticing


def _is_plain(value: object) -> bool:
    """Whether no text is in it, or it is where a template runs."""
    if isinstance(value, jinja2.Environment | jinja2.runtime.Context | nodes.EvalContext):
        return True
    is_scalar = value is None or isinstance(value, bool | int | float | str)
    return is_scalar and not isinstance(value, Opaque) and not _holds_text(value)


def _holds_text(value: object) -> bool:
    """Whether it is a plain string with a text in it, whatever made it of one."""
    return isinstance(value, str) and not isinstance(value, Opaque) and OPEN in value
