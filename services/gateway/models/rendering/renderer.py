"""A model's text side in one place: prompts in, detokenizers out."""

import copy
from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from services.common.errors import InvalidField, PromptTooLong
from services.common.limits import DEFAULTS
from services.gateway.models.rendering.chat_template import ChatTemplate
from services.gateway.models.rendering.detokenizer import Decoding, Detokenizer
from services.gateway.models.rendering.encoder import open_encoder
from services.gateway.models.rendering.model_files import ModelFiles
from services.gateway.models.rendering.plain_content import PlainContent
from services.gateway.models.rendering.token_length import chars_per_token_max

SHOWN_AT_ONCE = 8_192
"""So many tokens become text in one step; other threads run between two."""


class Renderer:
    """Makes token ids of prompts. Thread-safe: long prompts are rendered off the event loop.

    `cache_bytes` bounds the texts whose ids are kept because conversations repeat them; 0 keeps none.
    """

    def __init__(
        self, files: ModelFiles, *, cache_bytes: int = DEFAULTS.tokenizer_cache_size_bytes_max
    ) -> None:
        self.vocabulary_size = files.vocabulary_size
        self.eos_ids = files.eos_ids
        self.encoder = open_encoder(files.tokenizer, str(files.directory), cache_bytes=cache_bytes)
        self._encode = self.encoder.encode
        self.chars_per_token_max = chars_per_token_max(
            files.tokenizer, partial(self._encode, adds_special=False)
        )
        """Characters that one token stands for at most; `None` where there is no such number."""
        self._tokenizer = files.tokenizer
        self._makes_unknown = files.tokenizer_size > files.vocabulary_size
        sources, named = files.chat_templates, files.named_tokens
        self._template = ChatTemplate(sources.default, named) if sources.default else None
        self._tool_template = ChatTemplate(sources.tool_use, named) if sources.tool_use else self._template
        self._decoding = Decoding(files)
        self._control = files.tokenizer, sources.default + sources.tool_use
        self._plain_content: PlainContent | None = None

    @cached_property
    def plain(self) -> "Renderer":
        """The same, but that control tokens in messages stay text."""
        other = copy.copy(self)
        tokenizer, template = self._control
        other._plain_content = PlainContent(tokenizer, self.encoder, template)
        return other

    @property
    def is_ready(self) -> bool:
        """False while the next prompt has to wait for something to be loaded."""
        return self._plain_content is None or self._plain_content.is_ready

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        variables: Mapping[str, Any],
        *,
        continues_last: bool = False,
        tokens_max: int | None = None,
    ) -> "array[int]":
        """The prompt of a conversation. The template writes special tokens itself, so none are added.

        Raises `PromptTooLong`, before it is encoded, for a text that cannot be `tokens_max` tokens.
        """
        template = self._template if variables.get("tools") is None else self._tool_template
        if template is None:
            raise InvalidField("this model has no chat template; use /v1/completions", field="messages")
        plain = self._plain_content
        if plain is not None:
            messages, variables = plain.guard_messages(messages), plain.guard(variables)
        text = template.render(messages, variables, continues_last=continues_last)
        self.check_length(text, tokens_max, "messages")
        ids = self._encode(text, adds_special=False) if plain is None else plain.encode(text)
        return self._known(ids, "messages")

    def check_length(self, text: str, tokens_max: int | None, field: str) -> None:
        """Raise `PromptTooLong` for a text that has too many characters to be so many tokens."""
        if tokens_max is None or self.chars_per_token_max is None:
            return
        chars_max = tokens_max * self.chars_per_token_max
        if len(text) > chars_max:
            raise PromptTooLong(
                f"This model's maximum context length is {tokens_max} tokens. The prompt has {len(text)} "
                f"characters, and so many tokens have {chars_max} at most.",
                field=field,
            )

    def text(self, prompt: str, *, add_special_tokens: bool = True) -> "array[int]":
        """The prompt of a plain text, begun as the tokenizer begins one."""
        return self._known(self._encode(prompt, adds_special=add_special_tokens), "prompt")

    def words(self, texts: Iterable[str]) -> tuple[tuple[int, ...], ...]:
        """Each text's token ids, at the beginning of a line and, where they differ, within one."""
        found: dict[tuple[int, ...], None] = {}
        for text in texts:
            plain, inner = (self._word(start + text.lstrip()) for start in ("", " "))
            found[plain] = None
            if len(inner) == len(plain) and inner[:1] != plain[:1]:
                found[inner] = None
        found.pop((), None)
        return tuple(found)

    def open_detokenizer(
        self, prompt: "array[int] | None" = None, *, shows_special: bool = False
    ) -> Detokenizer:
        """A detokenizer for one answer. Some vocabularies' first token needs the prompt before it."""
        return self._decoding.open(prompt, shows_special=shows_special)

    def shown(self, prompt: "array[int]") -> str:
        """A prompt as its text."""
        detokenizer = self._decoding.open()
        starts = range(0, len(prompt), SHOWN_AT_ONCE)
        texts = [detokenizer.push(prompt[start : start + SHOWN_AT_ONCE]) for start in starts]
        return "".join([*texts, detokenizer.finish()])

    def token(self, token_id: int) -> tuple[str, bytes]:
        """One token's text and bytes; several tokens may make one character, shown as U+FFFD then."""
        return self._decoding.token(token_id)

    def names(self, ids: Iterable[int]) -> list[str]:
        """Tokens as the vocabulary writes them; empty for numbers that it has no token for."""
        return [self._tokenizer.id_to_token(token_id) or "" for token_id in ids]

    def _word(self, text: str) -> tuple[int, ...]:
        return tuple(self._known(self._encode(text, adds_special=False), "bad_words"))

    def _known(self, ids: "array[int]", field: str) -> "array[int]":
        """The ids, unless the model cannot read all of them: raises `InvalidField`."""
        if self._makes_unknown and ids and (highest := max(ids)) >= self.vocabulary_size:
            token = self._tokenizer.id_to_token(highest)
            raise InvalidField(f"{field}: the model does not know the token {token!r}", field=field)
        return ids
