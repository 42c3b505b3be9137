"""What a model's directory says about text."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from services.common.errors import ModelMissing
from services.gateway.models.rendering.added_tokens import NAMED_TOKENS, add_tokens
from services.gateway.models.rendering.json_files import read_json, read_text
from services.gateway.models.rendering.template_sources import TemplateSources


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The parts of a Hugging Face model directory that make text; no weights."""

    directory: Path
    tokenizer: Tokenizer
    decoder: Mapping[str, Any] | None
    """How the tokenizer makes text of tokens, as its file writes it."""
    special_ids: frozenset[int]
    """Tokens that are never shown."""
    eos_ids: frozenset[int]
    """Tokens that end generation."""
    vocabulary_size: int
    """Token ids that the model can read lie below it."""
    chat_templates: TemplateSources
    named_tokens: dict[str, str]
    """`bos_token` and its like, which chat templates refer to."""

    @property
    def tokenizer_size(self) -> int:
        """Token ids that the tokenizer makes lie below it; it may know tokens that the model does not."""
        return _tokenizer_size(self.tokenizer)

    @classmethod
    def read(cls, directory: Path) -> "ModelFiles":
        """Read a directory; raises `ModelMissing` with one line about what is absent or broken."""
        if not directory.is_dir():
            raise ModelMissing(f"no such model directory: {directory}")
        tokenizer_text = read_text(directory / "tokenizer.json")
        if not tokenizer_text:
            raise ModelMissing(f"the model directory {directory} has no tokenizer.json")
        try:
            tokenizer = Tokenizer.from_str(tokenizer_text)
        except Exception as error:  # the tokenizers library raises nothing narrower
            raise ModelMissing(f"cannot read {directory / 'tokenizer.json'}: {error}") from None
        tokenizer.no_truncation()
        tokenizer.no_padding()
        settings = read_json(directory / "special_tokens_map.json")
        settings |= read_json(directory / "tokenizer_config.json")
        add_tokens(tokenizer, directory, settings)
        config = read_json(directory / "config.json")
        named = _named_tokens(settings)
        return cls(
            directory=directory,
            tokenizer=tokenizer,
            decoder=json.loads(tokenizer_text).get("decoder"),
            special_ids=frozenset(i for i, t in tokenizer.get_added_tokens_decoder().items() if t.special),
            eos_ids=_eos_ids(read_json(directory / "generation_config.json"), config, named, tokenizer),
            vocabulary_size=_vocabulary_size(config) or _tokenizer_size(tokenizer),
            chat_templates=TemplateSources.read(directory, settings),
            named_tokens=named,
        )


def _int(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _tokenizer_size(tokenizer: Tokenizer) -> int:
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def _vocabulary_size(config: dict[str, Any]) -> int:
    """The model's own; one that sees, too, has its text side apart. 0 where it does not say."""
    text = config.get("text_config")
    return _int(config.get("vocab_size")) or (_int(text.get("vocab_size")) if isinstance(text, dict) else 0)


def _named_tokens(settings: dict[str, Any]) -> dict[str, str]:
    found = {}
    for name in NAMED_TOKENS:
        value = settings.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            found[name] = text
    return found


def _eos_ids(
    generation: dict[str, Any], config: dict[str, Any], named: dict[str, str], tokenizer: Tokenizer
) -> frozenset[int]:
    """As engines do: what the model's configuration names, and the tokenizer's own."""
    own = tokenizer.token_to_id(named["eos_token"]) if "eos_token" in named else None
    ids = [*_ids(generation.get("eos_token_id")), *_ids(config.get("eos_token_id")), *_ids(own)]
    return frozenset(ids)


def _ids(value: Any) -> Iterable[int]:
    values = value if isinstance(value, list) else [value]
    return [v for v in values if isinstance(v, int)]
