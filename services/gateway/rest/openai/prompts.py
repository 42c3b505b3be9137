"""Texts and token ids, one or many, as completions and embeddings take them."""

from dataclasses import replace
from typing import Any

from services.common.domain.tokens import tokens
from services.common.errors import InvalidField
from services.gateway.call.generation import TextPrompt, TokenPrompt

Given = str | list[int | str | list[int]]
"""A text, token ids, or a list of texts or of lists of token ids."""


def prompts_of(
    given: Given, name: str, *, most: int, begins: bool = True
) -> tuple[TextPrompt | TokenPrompt, ...]:
    """The prompts of a field, so many at most; raises `InvalidField`.

    `begins`: whether the tokenizer's own beginning stands before texts.
    """
    if isinstance(given, str):
        return (TextPrompt(given, name, begins),)
    first = given[0] if given else None
    if first is None:
        raise InvalidField(f"{name}: must not be empty", field=name)
    if isinstance(first, int):
        return (TokenPrompt(_ids(given, name), name),)
    if len(given) > most:
        raise InvalidField(f"{name}: at most {most} in one request", field=name)
    made = [_prompt(one, type(first), name, f"{name}[{index}]") for index, one in enumerate(given)]
    if begins:
        return tuple(made)
    return tuple(replace(one, begins=False) if isinstance(one, TextPrompt) else one for one in made)


def _prompt(given: int | str | list[int], kind: type, name: str, at: str) -> TextPrompt | TokenPrompt:
    if not isinstance(given, kind):
        raise InvalidField(f"{at}: must be all texts or all lists of token ids", field=at)
    return TextPrompt(given, name) if isinstance(given, str) else TokenPrompt(_ids(given, at), name)


def _ids(ids: Any, at: str) -> Any:
    try:
        return tokens(ids)
    except (TypeError, OverflowError):
        raise InvalidField(f"{at}: token ids must be integers from 0 on", field=at) from None
