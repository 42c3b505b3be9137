"""Calls and fleets for the tests of this folder."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from services.common.domain import Sampling
from services.gateway.call.call import Call
from services.gateway.call.generation import ChatPrompt, Generation, Prompt, TextPrompt, TokenPrompt
from services.gateway.models.served import Listed
from services.gateway.tenants import Caller


class Fleet:
    """Models and adapters that are served."""

    def __init__(self, lens: Mapping[str, int], adapters: Mapping[str, Sequence[str]] | None = None) -> None:
        self.lens = lens
        self.of = adapters or {}

    def served(self) -> Mapping[str, int]:
        return self.lens

    def adapters(self) -> Mapping[str, Sequence[str]]:
        return self.of

    def listed(self) -> Mapping[str, Listed]:
        found = {name: Listed(length) for name, length in self.lens.items()}
        for model, names in self.of.items():
            for name in names:
                found.setdefault(name, Listed(self.lens[model], parent=model))
        return found


def chat(*texts: str) -> ChatPrompt:
    """A conversation whose messages have these texts."""
    return ChatPrompt([{"role": "user", "content": text} for text in texts])


def text(prompt: str) -> TextPrompt:
    """A plain prompt."""
    return TextPrompt(prompt)


def ids(count: int) -> TokenPrompt:
    """A prompt of tokens."""
    return TokenPrompt(array("I", [1]) * count)


def asks(model: str, prompt: Prompt | None = None, *, max_tokens: int = 0, **fields: Any) -> Generation:
    """What a call asks for."""
    sampling = Sampling(max_tokens=max_tokens)
    return Generation(model=model, prompts=(prompt or chat("Hi"),), sampling=sampling, **fields)


def call(
    generation: Generation, *, tenant: str = "", session_key: str = "", request_id: str = "r", **caller: Any
) -> Call:
    """A call of a tenant."""
    return Call(
        request_id=request_id,
        generation=generation,
        received_ms=0.0,
        caller=Caller(tenant=tenant, **caller),
        session_key=session_key,
    )
