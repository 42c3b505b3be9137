"""The models file: what it may say, and how it is refused."""

import pytest

from services.common.errors import BadSetting
from services.gateway.models.routing.read import read_names

WHOLE = b"""
[aliases]
"gpt-4o-mini" = "chat"
legal = "chat-legal"

[versions.chat]
sticky = "tenant"
weights = { "chat-v1" = 95, "chat-v2" = 5, "chat-v3" = 0 }

[adapters.chat-legal]
model = "chat-v1"
adapter = "legal-2026"

[adapters.medical]
model = "chat-v1"

[auto]
small = "tiny"
large = "chat"
long_prompt_chars = 100

[models.tiny]
path = "models/tiny"
"""


def test_a_whole_file() -> None:
    names = read_names(WHOLE, "m.toml")
    assert names.aliases == {"gpt-4o-mini": "chat", "legal": "chat-legal"}
    assert names.versions["chat"].by_tenant
    assert names.versions["chat"].weights == {"chat-v1": 95.0, "chat-v2": 5.0, "chat-v3": 0.0}
    assert names.versions["chat"].share("chat-v2") == 5.0
    assert names.adapters["chat-legal"].adapter == "legal-2026"
    assert names.adapters["medical"].adapter == "medical"
    assert names.auto is not None
    assert (names.auto.small, names.auto.large, names.auto.long_prompt_chars) == ("tiny", "chat", 100)
    assert names.files["tiny"].path == "models/tiny"
    assert sorted(names.all()) == ["auto", "chat", "chat-legal", "gpt-4o-mini", "legal", "medical"]


def test_an_empty_file_has_no_names() -> None:
    assert list(read_names(b"", "m.toml").all()) == []


def test_a_version_may_be_the_model_of_the_same_name() -> None:
    names = read_names(b"[versions.chat.weights]\nchat = 9\nchat-v2 = 1", "m.toml")
    assert names.next_of("chat") == ("chat-v2",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("aliases", "m.toml: "),
        ("[alias]\na = 'b'", "did you mean aliases"),
        ("aliases = 3", "aliases: is not a table"),
        ("[aliases]\na = 3", "[aliases] a: 3 is no name"),
        ("[aliases]\n'a b' = 'c'", "'a b' is no name"),
        ("[aliases]\na = 'a'", "a stands for itself"),
        ("[aliases]\na = 'b'\nb = 'c'\nc = 'a'", "stands for itself"),
        ("[aliases]\na = 'b'\n[versions.b.weights]\na = 1\nx = 1", "stands for itself"),
        ("[aliases]\nauto = 'b'", "auto is a name of its own"),
        ("[aliases]\nx = 'auto'\n[auto]\nsmall = 'x'\nlarge = 'y'", "stands for itself"),
        ("[aliases]\na = 'b'\n[versions.a.weights]\nx = 1", "a stands for two things"),
        ("[versions.a]\nsticky = 'tenant'", "[versions.a]: needs weights"),
        ("[versions.a]\nstick = 'tenant'\nweights = {x = 1}", "did you mean sticky"),
        ("[versions.a]\nsticky = 'user'\nweights = {x = 1}", "not one of conversation, tenant"),
        ("[versions.a.weights]\nx = -1", "-1 is not a number from 0"),
        ("[versions.a.weights]\nx = true", "True is not a number from 0"),
        ("[versions.a.weights]\nx = inf", "inf is not a number from 0"),
        ("[versions.a.weights]\nx = nan", "nan is not a number from 0"),
        ("[versions.a.weights]\nx = 0", "all weights are 0"),
        ("[versions]\na = 1", "[versions.a]: is not a table"),
        ("[adapters.a]\nadapter = 'x'", "[adapters.a] model: '' is no name"),
        ("[auto]\nsmall = 'x'", "[auto] large: '' is no name"),
        ("[auto]\nsmall = 'x'\nlarge = 'y'\nlarge_point = 2", "did you mean large_points"),
        ("[auto]\nsmall = 'x'\nlarge = 'y'\nlarge_points = 0", "is not at least 1"),
        ("[auto]\nsmall = 'x'\nlarge = 'y'\nquestion_words = 'why'", "is not a list of texts"),
        ("[models.x]\ntool_call_parser = 'hermes'", "[models.x]: needs a path"),
        ("".join(f"[models.x{n}]\npath = 'p'\n" for n in range(17)), "over 16 models"),
        ("#" * 1_100_000, "over 1048576 bytes"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_place(text: str, says: str) -> None:
    with pytest.raises(BadSetting) as refused:
        read_names(text.encode(), "m.toml")
    assert says in refused.value.message
    assert "m.toml" in refused.value.message
    assert "\n" not in refused.value.message


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(BadSetting, match="utf-8"):
        read_names(b"\xff", "m.toml")
