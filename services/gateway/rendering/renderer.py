"""A model's text side in one place: prompts in, detokenizers out."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from services.common.domain.tokens import tokens
from services.common.errors import InvalidField
from services.gateway.rendering.chat_template import ChatTemplate
from services.gateway.rendering.detokenizer import Decoding, Detokenizer
from services.gateway.rendering.model_files import ModelFiles


class Renderer:
    """Makes token ids of prompts. Thread-safe: long prompts are rendered off the event loop."""

    def __init__(self, files: ModelFiles) -> None:
        self.vocabulary_size = files.vocabulary_size
        self.eos_ids = files.eos_ids
        self._tokenizer = files.tokenizer
        self._template = (
            ChatTemplate(files.chat_template, files.named_tokens) if files.chat_template else None
        )
        self._decoding = Decoding(files)

    def chat(self, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> "array[int]":
        """The prompt of a conversation. The template writes special tokens itself, so none are added."""
        if self._template is None:
            raise InvalidField("this model has no chat template; use /v1/completions", field="messages")
        return self._encode(self._template.render(messages, variables), add_special_tokens=False)

    def text(self, prompt: str) -> "array[int]":
        """The prompt of a plain text, begun as the tokenizer begins one."""
        return self._encode(prompt, add_special_tokens=True)

    def open_detokenizer(self) -> Detokenizer:
        """A detokenizer for one answer."""
        return self._decoding.open()

    def _encode(self, text: str, *, add_special_tokens: bool) -> "array[int]":
        # `encode` would hold the interpreter lock throughout; the batch call lets other threads run.
        encoded = self._tokenizer.encode_batch_fast([text], add_special_tokens=add_special_tokens)
        return tokens(encoded[0].ids)
