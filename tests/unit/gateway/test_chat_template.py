"""Chat templates run as Hugging Face's libraries run them, and cannot break out."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidField, ModelMissing
from services.gateway.models.rendering import ModelFiles, Renderer, model_directory
from services.gateway.models.rendering.chat_template import ChatTemplate
from services.gateway.models.rendering.template_sources import TemplateSources
from tests.unit.gateway.model_directory import TEMPLATE, write_model

USER = {"role": "user", "content": "Hi"}


def render(source: str, *messages: dict[str, str], **variables: object) -> str:
    return ChatTemplate(source, {"bos_token": "<s>"}).render(messages or (USER,), variables)


def test_messages_and_the_turn_of_the_assistant() -> None:
    text = render(TEMPLATE, {"role": "system", "content": "Be brief."}, USER)
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_what_hugging_face_offers_templates() -> None:
    assert render("{{ bos_token }}{{ messages[0] | tojson }}") == '<s>{"role": "user", "content": "Hi"}'
    assert render("{{ '<é>' | tojson(indent=1) }}") == '"<é>"'
    assert render("{{ strftime_now('%Y') | length }}") == "4"
    assert render("{% for m in messages %}{% if true %}{% continue %}{% endif %}x{% endfor %}") == ""
    assert render("{% generation %}a{% endgeneration %}b") == "ab"
    assert render("{{ enable_thinking }}", enable_thinking=False) == "False"
    assert render("{{ tools is none }} {{ add_generation_prompt }}") == "True True"
    assert render("{{ tools }}", tools=["f"]) == "['f']"
    assert render("{{ messages | length }}", messages="forged") == "1"


def test_what_messages_hold_is_found_as_the_sandbox_finds_it() -> None:
    message = {"role": "user", "items": "mine", "get": "mine", "_hidden": "mine", "content": "text"}
    assert render("{% for k, v in messages[0].items() %}{{ k }}={{ v }} {% endfor %}", message).startswith(
        "role=user"
    )
    assert render("{{ messages[0].get('content') }} {{ messages[0]['get'] }}", message) == "text mine"
    assert render("{{ messages[0].content }} {{ messages[0].missing }}", message) == "text "
    assert render("{{ messages[0]._hidden }}", message) == "mine"


def test_a_template_refuses_messages_in_its_own_words() -> None:
    with pytest.raises(InvalidField, match="unknown role"):
        render(TEMPLATE, {"role": "function", "content": "x"})
    with pytest.raises(InvalidField, match="refuses the messages"):
        render("{{ messages[0].content + 1 }}")


@pytest.mark.parametrize(
    "attack",
    ["{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ cycler.__init__.__globals__.os }}"],
)
def test_a_template_is_sandboxed(attack: str) -> None:
    with pytest.raises(InvalidField):
        render(attack + "{{ undefined_thing.attribute }}")


def test_the_developer_role_is_system_unless_the_template_knows_it() -> None:
    developer = {"role": "developer", "content": "x"}
    assert render("{{ messages[0].role }}", developer) == "system"
    assert render("{# developer #}{{ messages[0].role }}", developer) == "developer"


def test_a_template_that_does_not_compile_stops_the_start() -> None:
    with pytest.raises(ModelMissing, match="does not compile"):
        ChatTemplate("{% for %}", {})


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def test_equal_to_transformers(directory: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(directory / "tokenizer.json"), chat_template=TEMPLATE
    )
    messages = [
        {"role": "system", "content": " a\n"},
        USER,
        {"role": "assistant", "content": "東京 😀"},
        USER,
    ]
    expected = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert list(Renderer(ModelFiles.read(directory)).chat(messages, {})) == expected


@given(text=st.text(max_size=60))
def test_special_tokens_in_a_prompt_are_read_as_hugging_face_reads_them(directory: Path, text: str) -> None:
    renderer = Renderer(ModelFiles.read(directory))
    tokenizer = ModelFiles.read(directory).tokenizer
    assert list(renderer.text(text)) == tokenizer.encode(text).ids


def test_missing_and_broken_files_are_one_line_each(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="no such model directory"):
        ModelFiles.read(tmp_path / "nowhere")
    with pytest.raises(ModelMissing, match=r"has no tokenizer\.json"):
        ModelFiles.read(tmp_path)
    write_model(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(ModelMissing, match=r"cannot read .*tokenizer_config\.json"):
        ModelFiles.read(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelMissing, match=r"cannot read .*tokenizer\.json"):
        ModelFiles.read(tmp_path)


def test_locating_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_directory(str(tmp_path)) == tmp_path
    assert model_directory("./owner/name") == Path("owner/name")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelMissing, match="owner/name is no directory"):
        model_directory("owner/name")


def test_a_template_file_has_precedence(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("from the file")
    assert ModelFiles.read(tmp_path).chat_templates == TemplateSources("from the file")


LISTED = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]


def settings_of(directory: Path, **changes: Any) -> None:
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def prompts_of(directory: Path) -> tuple[str, str]:
    """Without tools, and with some."""
    renderer = Renderer(ModelFiles.read(directory))
    return tuple(renderer.shown(renderer.chat([USER], {"tools": tools})) for tools in (None, [{}]))


def test_with_tools_the_template_for_tools_is_used(tmp_path: Path) -> None:
    write_model(tmp_path)
    settings_of(tmp_path, chat_template=LISTED)
    assert prompts_of(tmp_path) == ("plain", "tools")
    folder = tmp_path / "additional_chat_templates"
    folder.mkdir()
    (folder / "tool_use.jinja").write_text("{{ 'tools of the folder' }}")
    (tmp_path / "chat_template.jinja").write_text("of the file")
    assert prompts_of(tmp_path) == ("of the file", "tools of the folder")
    settings_of(tmp_path, chat_template=LISTED[:1])
    (folder / "tool_use.jinja").unlink()
    (tmp_path / "chat_template.jinja").unlink()
    assert prompts_of(tmp_path) == ("plain", "plain")


def test_a_list_of_templates_that_is_broken_is_one_line(tmp_path: Path) -> None:
    write_model(tmp_path)
    settings_of(tmp_path, chat_template=[{"name": "default"}])
    with pytest.raises(ModelMissing, match="chat_template is no list of names with templates"):
        ModelFiles.read(tmp_path)


def test_a_model_without_a_template_does_not_chat(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(InvalidField, match="no chat template"):
        Renderer(ModelFiles.read(tmp_path)).chat([USER], {})
