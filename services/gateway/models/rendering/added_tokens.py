"""Tokens that only the files beside `tokenizer.json` know, added as Hugging Face's libraries add them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from services.common.errors import ModelMissing
from services.gateway.models.rendering.json_files import read_json

NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_LISTS = ("additional_special_tokens", "extra_special_tokens")
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")


def add_tokens(tokenizer: Tokenizer, directory: Path, settings: dict[str, Any]) -> None:
    """Add what is missing, and what is there with other flags; raises `ModelMissing`.

    `settings` is what `special_tokens_map.json` and `tokenizer_config.json` say together.
    """
    known = {repr(token) for token in tokenizer.get_added_tokens_decoder().values()}
    try:
        numbered = _numbered(settings.get("added_tokens_decoder"), directory, settings)
        missing = [token for token in numbered if repr(token) not in known]
        names = {token.content for token in [*tokenizer.get_added_tokens_decoder().values(), *missing]}
        missing += [token for token in _special(settings) if token.content not in names]
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ModelMissing(f"{directory}: its lists of added tokens are broken: {error}") from None
    if missing:
        tokenizer.add_tokens(list({token.content: token for token in missing}.values()))


def _numbered(listed: Any, directory: Path, settings: dict[str, Any]) -> list[AddedToken]:
    """Those with an id, in the order of their ids."""
    if listed:
        return [_token(listed[number]) for number in sorted(listed, key=int)]
    older = read_json(directory / "added_tokens.json")
    special = {token.content for token in _special(settings)}
    return [
        AddedToken(text, normalized=text not in special, special=text in special)
        for text in sorted(older, key=lambda text: int(older[text]))
    ]


def _special(settings: dict[str, Any]) -> Iterator[AddedToken]:
    """Those that have a part to play."""
    values = [settings.get(name) for name in NAMED_TOKENS]
    for name in _LISTS:
        listed = settings.get(name)
        values += listed.values() if isinstance(listed, dict) else listed or []
    for value in values:
        if value:
            yield _token(value, special=True)


def _token(value: Any, **flags: bool) -> AddedToken:
    if isinstance(value, str):
        return AddedToken(value, **flags)
    given = {name: value[name] for name in _FLAGS if name in value}
    return AddedToken(value["content"], **(given | flags))
