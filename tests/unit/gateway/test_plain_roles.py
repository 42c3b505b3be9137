"""Conversations in roles that a strict chat template refuses."""

from typing import Any

import pytest

from services.common.errors import InvalidField
from services.gateway.models.rendering.chat_template import ChatTemplate

SYSTEM_FIRST = (
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
    "{{ raise_exception('System message must be at the beginning.') }}{% endif %}"
    "[{{ m.role }}: {{ m.content }}]{% endfor %}"
)
IN_TURN = (
    "{% set rest = messages[1:] if messages[0].role == 'system' else messages %}"
    "{% if messages[0].role == 'system' %}[system: {{ messages[0].content }}]{% endif %}"
    "{% for m in rest %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "[{{ m.role }}: {{ m.content }}]{% endfor %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + IN_TURN
)


def talk(*turns: str) -> list[dict[str, Any]]:
    return [dict(zip(("role", "content"), turn.split(" ", 1), strict=True)) for turn in turns]


LATE = talk("system A", "user b", "system C", "assistant d", "user e", "system F")
TWICE = talk("developer A", "developer B", "user c", "user d")


@pytest.mark.parametrize(
    ("template", "messages", "expected"),
    [
        (SYSTEM_FIRST, LATE, "[system: A][user: b\n\nC][assistant: d][user: e\n\nF]"),
        (IN_TURN, LATE, "[system: A][user: b\n\nC][assistant: d][user: e\n\nF]"),
        (NO_SYSTEM, LATE, "[user: A\n\nb\n\nC][assistant: d][user: e\n\nF]"),
        (SYSTEM_FIRST, TWICE, "[system: A\n\nB][user: c\n\nd]"),
        (IN_TURN, TWICE, "[system: A\n\nB][user: c\n\nd]"),
        (NO_SYSTEM, TWICE, "[user: A\n\nB\n\nc\n\nd]"),
        (IN_TURN, talk("user a", "user b"), "[user: a\n\nb]"),
        (SYSTEM_FIRST, talk("system A", "user b"), "[system: A][user: b]"),
    ],
)
def test_they_are_said_in_plainer_ones(template: str, messages: list[dict[str, Any]], expected: str) -> None:
    assert ChatTemplate(template, {}).render(messages, {}) == expected


def test_a_template_that_takes_them_gets_them_as_they_are() -> None:
    template = ChatTemplate("{% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}", {})
    expected = "[system: A][user: b][system: C][assistant: d][user: e][system: F]"
    assert template.render(LATE, {}) == expected


def test_the_assistant_s_last_words_go_on_in_plainer_roles_too() -> None:
    messages = talk("user a", "user b", "assistant c")
    assert (
        ChatTemplate(IN_TURN, {}).render(messages, {}, continues_last=True) == "[user: a\n\nb][assistant: c"
    )


def test_the_template_s_first_complaint_is_told() -> None:
    template = ChatTemplate("{{ raise_exception('at message ' ~ messages|length) }}", {})
    with pytest.raises(InvalidField, match="at message 6"):
        template.render(LATE, {})
