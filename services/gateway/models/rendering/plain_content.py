"""Keeping what callers write plain text: only the template's own control tokens become control tokens."""

import json
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from tokenizers import AddedToken, Tokenizer

from services.common.domain.tokens import tokens
from services.common.errors import InvalidField
from services.gateway.models.rendering.encoder import Encoder

GUARD = "\ufdd1"
"""Put into a control token that a caller wrote; U+FDD1 is no character and stands in no text."""
_ANCHOR = "\ufdd2"
"""A token before a piece of text, so that it is encoded as one that does not begin the prompt."""


_WHITESPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029"
    "\u202f\u205f\u3000"
)
"""What tokens take that take what stands beside them: Unicode's white space, of which Python's is more."""


class ControlTokens:
    """A tokenizer's special tokens, and other added ones that the template writes, such as <tool_call>.

    One of a single character would be no text without it, and stays what it is.
    """

    def __init__(self, tokenizer: Tokenizer, template: str) -> None:
        added = {i: t for i, t in tokenizer.get_added_tokens_decoder().items() if len(t.content) > 1}
        special = [token for token in added.values() if token.special]
        marks = [t for t in added.values() if not t.special and _is_mark(t.content, template)]
        self.special = _longest_first(special)
        self.all = _longest_first([*special, *marks])
        self.by_content = {token.content: token for token in self.all}
        ids = {token.content: token_id for token_id, token in added.items()}
        self.ids = {content: ids[content] for content in self.by_content}
        """By content."""
        contents = list(self.by_content)
        self.beginnings = frozenset(c[:end] for c in contents for end in range(1, len(c)))
        self.ends = frozenset(c[start:] for c in contents for start in range(1, len(c)))
        self.length_max = max(map(len, contents), default=0)


def _is_mark(content: str, template: str) -> bool:
    return bool(content.strip()) and content in template


def _longest_first(added: Sequence[AddedToken]) -> list[AddedToken]:
    return sorted(added, key=lambda token: len(token.content), reverse=True)


class _PlainTokenizer:
    """The same tokenizer, but that no text becomes a control token; takes as long to make as that one."""

    def __init__(self, tokenizer: Tokenizer, control: Mapping[str, int]) -> None:
        spec = json.loads(tokenizer.to_str())
        unknown = _unknown_id(spec["model"])
        self.control_ids = frozenset(control.values()) - {unknown}
        """Without the token for text that the vocabulary does not have."""
        spec["added_tokens"] = [token for token in spec["added_tokens"] if token["id"] != unknown]
        for token in spec["added_tokens"]:
            if token["content"] in control:
                token["content"] = f"{GUARD}{token['id']}"
        _hide(spec["model"], {name: i for name, i in control.items() if i != unknown})
        self._tokenizer = Tokenizer.from_str(json.dumps(spec))
        self._tokenizer.add_tokens([AddedToken(_ANCHOR, special=True, normalized=False)])

    def encode(self, text: str, *, begins: bool) -> Sequence[int]:
        """A text's ids; without `begins` as they would be behind other text."""
        whole = text if begins else _ANCHOR + text
        ids: list[int] = self._tokenizer.encode_batch_fast([whole], add_special_tokens=False)[0].ids
        return ids if begins else ids[1:]


class PlainContent:
    """Guards control tokens in messages, and encodes prompts so that guarded ones stay text."""

    def __init__(self, tokenizer: Tokenizer, encoder: Encoder, template: str) -> None:
        self._tokenizer, self._encoder = tokenizer, encoder
        self._control = ControlTokens(tokenizer, template)

    @property
    def is_ready(self) -> bool:
        """Whether nothing has to be loaded first."""
        return "_plain" in self.__dict__

    def guard_messages(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Messages with guards. An assistant's keep <think> and its like, which templates look for; special
        tokens are guarded there too.
        """
        return [self._guard_message(message) for message in messages]

    def guard(self, value: Any) -> Any:
        """The same texts, lists and objects with guards."""
        return self._guard(value, self._control.all)

    def encode(self, text: str) -> "array[int]":
        """A rendered prompt's token ids; raises `InvalidField` where a control token cannot be text."""
        control_ids, pieces = self._plain.control_ids, list(self._pieces(text))
        if GUARD not in text:
            ids = self._encoder.encode(text, adds_special=False)
            if sum(map(control_ids.__contains__, ids)) == sum(map(control_ids.__contains__, pieces)):
                return ids
        joined = tokens()
        for number, piece in enumerate(pieces):
            if isinstance(piece, int):
                joined.append(piece)
            else:
                joined.extend(self._text_ids(piece, begins=number == 0))
        return joined

    def _text_ids(self, text: str, *, begins: bool) -> Sequence[int]:
        ids = self._plain.encode(text, begins=begins)
        if not self._plain.control_ids.isdisjoint(ids):
            raise InvalidField(
                "messages: hold a control token of the model that cannot be written as text", field="messages"
            )
        return ids

    @cached_property
    def _plain(self) -> _PlainTokenizer:
        return _PlainTokenizer(self._tokenizer, self._control.ids)

    def _guard_message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        control = self._control.special if message["role"] == "assistant" else self._control.all
        guarded = {key: self._guard(value, control) for key, value in message.items() if key != "role"}
        return {"role": _guarded(message["role"], self._control.all), **guarded}

    def _guard(self, value: Any, control: Sequence[AddedToken]) -> Any:
        if isinstance(value, str):
            return self._with_guarded_edges(_guarded(value, control))
        if isinstance(value, Mapping):
            return {_guarded(key, control): self._guard(item, control) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._guard(item, control) for item in value]
        return value

    def _with_guarded_edges(self, text: str) -> str:
        """Guards where text that the template puts beside this could make a control token of both."""
        control, bare = self._control, text.strip()
        reach = range(1, min(len(bare), control.length_max) + 1)
        if any(bare[:size] in control.ends for size in reach):
            at = len(text) - len(text.lstrip())
            text = f"{text[:at]}{GUARD}{text[at:]}"
        if any(bare[-size:] in control.beginnings for size in reach):
            at = len(text.rstrip())
            text = f"{text[:at]}{GUARD}{text[at:]}"
        return text

    def _pieces(self, text: str) -> Iterator[str | int]:
        """The template's own control tokens, and the texts between them without guards."""
        position, takes_right = 0, False
        for found in self._marks.finditer(text):
            token = self._control.by_content[found[0]]
            between = _between(text[position : found.start()], left=takes_right, right=token.lstrip)
            if between:
                yield between
            yield self._control.ids[found[0]]
            position, takes_right = found.end(), token.rstrip
        if rest := _between(text[position:], left=takes_right, right=False):
            yield rest

    @cached_property
    def _marks(self) -> re.Pattern[str]:
        parts = [
            rf"(?<!\w){re.escape(token.content)}(?!\w)" if token.single_word else re.escape(token.content)
            for token in self._control.all
        ]
        return re.compile("|".join(parts) or r"(?!)")


def _guarded(text: str, control: Sequence[AddedToken]) -> str:
    for token in control:
        content = token.content
        if content in text:
            text = text.replace(content, f"{content[0]}{GUARD}{content[1:]}")
    return text


def _unknown_id(model: Mapping[str, Any]) -> int | None:
    """The token for text that the vocabulary does not have; a Unigram model says its number only."""
    name = model.get("unk_token")
    found: int | None = model.get("unk_id") if name is None else model["vocab"].get(name)
    return found


def _hide(model: dict[str, Any], ids: Mapping[str, int]) -> None:
    """Keep a model from finding control tokens in its own vocabulary."""
    vocabulary = model["vocab"]
    for content, token_id in ids.items():
        if isinstance(vocabulary, dict) and content in vocabulary:
            vocabulary[f"{GUARD}{token_id}"] = vocabulary.pop(content)
        elif isinstance(vocabulary, list) and token_id < len(vocabulary):
            vocabulary[token_id] = [f"{GUARD}{token_id}", vocabulary[token_id][1]]


def _between(text: str, *, left: bool, right: bool) -> str:
    text = text.replace(GUARD, "").replace(_ANCHOR, "")
    text = text.lstrip(_WHITESPACE) if left else text
    return text.rstrip(_WHITESPACE) if right else text
