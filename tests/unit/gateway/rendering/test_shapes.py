"""A prompt put together from its shape is what the template renders."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import InvalidField
from services.gateway.models.rendering.chat_template import ChatTemplate
from services.gateway.models.rendering.shapes import FAILURES_MAX, SHAPES_MAX, Shapes
from tests.unit.gateway.model_directory import TEMPLATE
from tests.unit.gateway.rendering.kinds import DEMO

Messages = Sequence[Mapping[str, Any]]
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}"
    "{% set content = '<|start|>' + message['role'] + '<|end|>\n\n'"
    " + message['content'] | trim + '<|eot|>' %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}A{% endif %}"
)
SYSTEM_FIRST = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set rest = messages[1:] %}{% else %}{% set system = 'default' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if loop.first and system %}{{ '<<SYS>>' + system + '<</SYS>>' }}{% endif %}"
    "{% if m.content is string and m.content is not none %}{{ m.role | upper }}: {{ m.content }}"
    "{% if not loop.last %}\n{% endif %}{% endif %}{% endfor %}"
)
LISTED = (
    "{% set ns = namespace(last='') %}{% for m in messages %}{% set ns.last = m.content %}{% endfor %}"
    "{{ ns.last }}!"
)
PASSING = {
    "chatml": TEMPLATE,
    "demo": (DEMO.parent / "chat_template.jinja").read_text(),
    "llama3": LLAMA3,
    "namespace": LISTED,
    "system first": SYSTEM_FIRST,
    "get": "{% for m in messages %}{{ m.get('content') }}{{ m['content'] | default('x') }}{% endfor %}",
}
LOOKING = {
    "starts": "{% if messages[0].content.startswith('a') %}A{% endif %}",
    "equals": "{% if messages[0].content == 'a' %}A{% endif %}",
    "equals, the other way": "{% if 'a' == messages[0].content %}A{% endif %}",
    "in": "{{ 'a' in messages[0].content }}",
    "in a list": "{{ messages[0].content in ['a', 'b'] }}",
    "letter": "{{ messages[0].content[0:1] }}",
    "item": "{{ messages[0]['content'][-1] }}",
    "length": "{{ messages[0].content | length }}",
    "upper": "{{ messages[0].content | upper }}",
    "json": "{{ messages[0].content | tojson }}",
    "json of all": "{{ messages | tojson }}",
    "all": "{{ messages }}",
    "replaced": "{{ messages[0].content.replace('a', 'b') }}",
    "replaced by a filter": "{{ messages[0].content | replace('a', 'b') }}",
    "letters": "{% for c in messages[0].content %}{{ c }}-{% endfor %}",
    "trimmed after": "{{ (messages[0].content + ' ') | trim }}",
    "joined": "{{ messages | map(attribute='content') | join(',') | upper }}",
    "joined by a method": "{% set x = '-'.join(['a', messages[0].content]) %}{{ x | trim }}{{ x[2:] }}",
    "macro": "{% macro f(m) %}{{ m.content }}{% endmacro %}{{ f(messages[0]) | trim }}",
    "block": "{% set x %}{{ messages[0].content }}{% endset %}{{ x | trim }}{{ x[0:1] }}",
    "tilde": "{% set x = 'a' ~ messages[0].content %}{{ x[0:2] }}",
    "formatted": "{{ '%s' % messages[0].content }}{{ ('%s' % messages[0].content)[0:1] }}",
    "format": "{{ '{}'.format(messages[0].content)[0:1] }}",
    "sequence": "{% if messages[0].content is sequence %}S{% endif %}",
    "iterable": "{% if messages[0].content is iterable %}I{% endif %}",
    "lower": "{% if messages[0].content is lower %}L{% endif %}",
    "less": "{{ messages[0].content < 'b' }}",
    "sorted": "{% for m in messages | sort(attribute='content') %}{{ m.content }}{% endfor %}",
    "selected": "{% for m in messages | selectattr('content', 'equalto', 'a') %}{{ m.role }}{% endfor %}",
    "times": "{{ messages[0].content * 2 }}",
    "key": "{{ {'a': 1}.get(messages[0].content) }}",
    "date": "{{ strftime_now('%f') }}",
    "random": "{{ [1, 2, 3] | random }}",
}
TEXTS = ("", "a", " a", "b\n", 'say "a"\\ <&>', "</think>é", "<|im_end|>", "\ufdd30\ufdd4", "0", " ")
texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=8))
roles = st.sampled_from(["system", "user", "assistant"])
conversations = st.lists(st.tuples(roles, texts), min_size=1, max_size=5)


def said(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in pairs]


def outcome(template: ChatTemplate, messages: Messages, variables: Mapping[str, Any]) -> str:
    try:
        return template.render(messages, variables)
    except InvalidField as error:
        return f"refused: {error.message}"


def unshaped(source: str) -> ChatTemplate:
    """A template that is run each time."""
    template = ChatTemplate(source, {"bos_token": "<s>"})
    template._shapes._template = None
    return template


TEMPLATES = {
    name: (ChatTemplate(source, {"bos_token": "<s>"}), unshaped(source))
    for name, source in (PASSING | LOOKING).items()
    if name not in ("date", "random")
}


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=40)
@given(conversation=conversations, turn=st.booleans())
def test_each_prompt_is_what_the_template_renders(
    name: str, conversation: list[tuple[str, str]], turn: bool
) -> None:
    shaped, run = TEMPLATES[name]
    messages, variables = said(*conversation), {"add_generation_prompt": turn, "tools": None}
    assert outcome(shaped, messages, variables) == outcome(run, messages, variables)


@pytest.mark.parametrize("source", PASSING.values(), ids=PASSING)
def test_templates_that_pass_texts_on_are_run_once_for_a_shape(source: str) -> None:
    shapes = Shapes(source, {"bos_token": "<s>", "add_generation_prompt": True, "tools": None})
    for number in range(30):
        assert shapes.render(said(("user", f"text {number}")), {}) is not None
    assert len(shapes._prompts) == 1


@pytest.mark.parametrize("source", LOOKING.values(), ids=LOOKING)
def test_templates_that_look_into_texts_are_run_each_time(source: str) -> None:
    shapes = Shapes(source, {})
    for text in ("a", "b", "ab"):
        assert shapes.render(said(("user", text)), {}) is None


def test_what_is_more_than_texts_is_run_each_time() -> None:
    shapes = Shapes(TEMPLATE, {"add_generation_prompt": True})
    named = [{"role": "user", "content": "x", "name": "n"}]
    assert shapes.render(named, {}) is None
    assert shapes.render(said(("user", "x")), {"tools": [{"type": "function"}]}) is None
    assert shapes.render(said(*[("user", "x")] * 65), {}) is None
    assert shapes.render(said(("user", "x")), {"long": "x" * 65}) is None
    assert not shapes._prompts


def test_true_is_not_one() -> None:
    shapes = Shapes("{{ x }}{{ messages[0].content }}", {})
    found = [shapes.render(said(("user", "!")), {"x": value}) for value in (True, 1, "1", None, False, 0)]
    assert found == ["True!", "1!", "1!", "None!", "False!", "0!"]


def test_shapes_are_bounded_and_hopeless_templates_are_left_alone() -> None:
    shapes = Shapes(TEMPLATE, {"add_generation_prompt": True})
    for number in range(SHAPES_MAX + 10):
        shapes.render(said(("user", "x")), {"n": number})
    assert len(shapes._prompts) <= SHAPES_MAX
    looking = Shapes(LOOKING["starts"], {})
    for number in range(FAILURES_MAX + 10):
        assert looking.render(said(*[("user", "x")] * (number + 1)), {}) is None
    assert len(looking._prompts) == FAILURES_MAX


def test_refusals_are_the_template_s_own() -> None:
    template = ChatTemplate(TEMPLATE.replace('"tool"]', '"tool"] or message.content == "never"'), {})
    with pytest.raises(InvalidField, match="unknown role"):
        ChatTemplate(TEMPLATE, {}).render(said(("robot", "x")), {})
    assert (
        template.render(said(("user", "x")), {"add_generation_prompt": False})
        == "<|im_start|>user\nx<|im_end|>\n"
    )
