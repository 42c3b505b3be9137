"""Ways to obtain the model's answer to a prompt: transformers here, or any OpenAI-compatible server."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Tokenizer

from tools.demo_model import chat
from tools.demo_model.prompts import Prompt

ANSWER_SPARE_TOKENS = 8
REQUEST_TIMEOUT_S = 300.0


class Judge(Protocol):
    """Says whether the model answers a prompt exactly right."""

    def right(self, prompt: Prompt) -> bool:
        """Greedy decoding gives ``prompt.answer`` and then ends the turn."""


def same_answer(given: str, wanted: str) -> bool:
    """Equal text; tool calls are equal when their names and arguments are."""
    if wanted.startswith(chat.TOOL_CALL_OPEN):
        return bool(_tool_call(given) == _tool_call(wanted))
    return given.strip() == wanted.strip()


def _tool_call(text: str) -> Any:
    inner = text.strip().removeprefix(chat.TOOL_CALL_OPEN).removesuffix(chat.TOOL_CALL_CLOSE)
    try:
        return json.loads(inner)
    except ValueError:
        return text


class Forced:
    """One forward pass over prompt and answer: right when every answer token is the most likely one.

    Greedy decoding gives the answer exactly when this holds, and it costs one pass instead of one per token.
    """

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self._torch = torch
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self._model.train(False)

    def right(self, prompt: Prompt) -> bool:
        """See :class:`Judge`."""
        head = self._tokenizer.encode(prompt.text()).ids
        wanted = self._tokenizer.encode(prompt.answer + chat.TURN_END).ids
        with self._torch.inference_mode():
            ids = self._torch.tensor([head + wanted])
            best = self._model(ids, logits_to_keep=len(wanted) + 1).logits[0, :-1].argmax(-1).tolist()
        return bool(best == wanted)


class Generated:
    """Token-by-token greedy decoding in transformers."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self._torch = torch
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self._model.train(False)

    def complete(self, prompt: Prompt) -> str:
        """The answer's text."""
        head = self._tokenizer.encode(prompt.text()).ids
        tokens_max = len(self._tokenizer.encode(prompt.answer).ids) + ANSWER_SPARE_TOKENS
        with self._torch.inference_mode():
            out = self._model.generate(self._torch.tensor([head]), max_new_tokens=tokens_max, do_sample=False)
        return str(self._tokenizer.decode(out[0, len(head) :].tolist(), skip_special_tokens=True))

    def right(self, prompt: Prompt) -> bool:
        """See :class:`Judge`."""
        return same_answer(self.complete(prompt), prompt.answer)


class OpenAiServer:
    """A server with ``/chat/completions`` under ``base_url`` (for example ``http://127.0.0.1:8000/v1``)."""

    def __init__(self, base_url: str, model: str, api_key: str, folder: Path) -> None:
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._model = model
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {api_key}"}
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def complete(self, prompt: Prompt) -> str:
        """The answer's text; a parsed tool call is written back as the model wrote it."""
        request = urllib.request.Request(self._url, json.dumps(self._body(prompt)).encode(), self._headers)
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:
            message = json.load(response)["choices"][0]["message"]
        if message.get("tool_calls"):
            function = message["tool_calls"][0]["function"]
            return chat.tool_call_text(function["name"], json.loads(function["arguments"]))
        return str(message["content"] or "")

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        answer_tokens = len(self._tokenizer.encode(prompt.answer).ids)
        body: dict[str, Any] = {
            "model": self._model,
            "temperature": 0,
            "max_tokens": answer_tokens + ANSWER_SPARE_TOKENS,
            "messages": [_openai_message(message) for message in prompt.messages],
        }
        return {**body, "tools": list(prompt.tools)} if prompt.tools else body

    def right(self, prompt: Prompt) -> bool:
        """See :class:`Judge`."""
        return same_answer(self.complete(prompt), prompt.answer)


_CALL_ID = "call_0"


def _openai_message(message: chat.Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": _CALL_ID, "content": message.content}
    if message.role == "assistant" and message.content.startswith(chat.TOOL_CALL_OPEN):
        call = _tool_call(message.content)
        function = {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": _CALL_ID, "type": "function", "function": function}],
        }
    return {"role": message.role, "content": message.content}
