"""Tokens that only the files beside `tokenizer.json` know."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import ModelMissing
from services.gateway.models.rendering import ModelFiles
from tests.unit.gateway.model_directory import write_model

MARK = {"content": "<|mark|>", "special": True, "normalized": False}
PLAIN = {"content": "<call>", "special": False, "normalized": False, "lstrip": True}
TEXT = "so <|mark|> and <call> then <|im_end|>"


def with_settings(directory: Path, name: str, **changes: Any) -> Path:
    path = directory / name
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | changes))
    return directory


def numbered(directory: Path, *tokens: dict[str, Any]) -> Path:
    first = ModelFiles.read(directory).tokenizer.get_vocab_size()
    listed = {str(first + nth): token for nth, token in enumerate(tokens)}
    return with_settings(directory, "tokenizer_config.json", added_tokens_decoder=listed)


def config(directory: Path) -> Path:
    return numbered(directory, MARK, PLAIN)


def special_list(directory: Path) -> Path:
    return with_settings(directory, "special_tokens_map.json", additional_special_tokens=["<|mark|>"])


def end_of_sequence(directory: Path) -> Path:
    return with_settings(directory, "tokenizer_config.json", eos_token="<|mark|>")


def older(directory: Path) -> Path:
    first = ModelFiles.read(directory).tokenizer.get_vocab_size()
    (directory / "added_tokens.json").write_text(json.dumps({"<call>": first + 1, "<|mark|>": first}))
    return directory


@pytest.mark.parametrize("files", [config, special_list, end_of_sequence, older])
def test_they_are_as_transformers_has_them(files: Any, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    plain = with_settings(write_model(tmp_path), "tokenizer_config.json", eos_token="<|im_end|>")
    directory = files(plain)
    ours = ModelFiles.read(directory)
    with_settings(directory, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    theirs = transformers.AutoTokenizer.from_pretrained(str(directory))
    ids = ours.tokenizer.encode(TEXT, add_special_tokens=False).ids
    assert ids == theirs.encode(TEXT, add_special_tokens=False)
    assert ours.tokenizer.token_to_id("<|mark|>") in ids
    assert ours.vocabulary_size >= len(theirs)
    for skips in (True, False):
        expected = theirs.decode(ids, skip_special_tokens=skips, clean_up_tokenization_spaces=False)
        assert ours.tokenizer.decode(ids, skip_special_tokens=skips) == expected


def test_one_that_ends_an_answer_does(tmp_path: Path) -> None:
    files = ModelFiles.read(end_of_sequence(write_model(tmp_path)))
    own = files.tokenizer.token_to_id("<|mark|>")
    assert own in files.eos_ids
    assert own in files.special_ids


def test_a_list_that_is_broken_is_one_line(tmp_path: Path) -> None:
    write_model(tmp_path)
    with_settings(tmp_path, "tokenizer_config.json", added_tokens_decoder={"9999": {"special": True}})
    with pytest.raises(ModelMissing, match="added tokens are broken"):
        ModelFiles.read(tmp_path)
