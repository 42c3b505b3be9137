"""Prompts that can never fit are refused before they are tokenised, and never delay those of others."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from services.gateway.models.rendering import Renderer
from tests.attack.conftest import Besiege
from tests.attack.siege import INNOCENT

MODEL_LEN = 400
LONG = "lorem ipsum " * 20_000


@contextmanager
def encoded_texts() -> Iterator[list[int]]:
    """The lengths of all texts that are encoded while the block runs."""
    lengths: list[int] = []
    prepare = Renderer.__init__

    def watching(renderer: Renderer, *arguments: Any, **named: Any) -> None:
        prepare(renderer, *arguments, **named)
        encode = renderer._encode

        def noted(text: str, **how: Any) -> Any:
            lengths.append(len(text))
            return encode(text, **how)

        renderer._encode = noted  # type: ignore[method-assign]

    with patch.object(Renderer, "__init__", watching):
        yield lengths


TURN = {"role": "user", "content": LONG}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": LONG, "max_tokens": 5},
    "/v1/completions?several": {"prompt": ["Hi", LONG], "max_tokens": 5},
    "/v1/chat/completions": {"messages": [TURN]},
    "/v1/chat/completions?parts": {"messages": [{**TURN, "content": [{"type": "text", "text": LONG}]}]},
    "/v1/responses": {"input": LONG},
    "/v1/messages": {"messages": [TURN], "max_tokens": 5},
    "/v1/messages/count_tokens": {"messages": [TURN]},
    "/tokenize": {"prompt": LONG},
    "/tokenize?chat": {"messages": [TURN]},
}


@pytest.mark.parametrize("route", BODIES)
async def test_what_never_fits_is_not_tokenised(besieged: Besiege, route: str) -> None:
    with encoded_texts() as lengths:
        async with besieged() as siege:
            body = msgspec.json.encode({"model": "tiny", **BODIES[route]})
            refused = await siege.post("mallory", route.partition("?")[0], body)
            assert refused.status == 400
            assert b"context_length_exceeded" in refused.body
            assert max(lengths, default=0) < len(LONG)
            assert not siege.edge.router.jobs


async def test_what_might_fit_is_tokenised(besieged: Besiege) -> None:
    """One token may stand for many characters, so this is no proof that it does not fit."""
    text = "    " * MODEL_LEN
    body = msgspec.json.encode({"model": "tiny", "prompt": text, "max_tokens": 5})
    with encoded_texts() as lengths:
        async with besieged() as siege:
            await siege.post("mallory", "/v1/completions", body)
            assert len(text) in lengths


async def test_long_prompts_in_work_leave_a_thread_to_others(besieged: Besiege) -> None:
    """Tokenising takes for ever here; the innocent's prompts, which need a thread too, are tokenised."""
    held = threading.Event()
    attack = msgspec.json.encode({"model": "tiny", "prompt": "a" * 300_000})
    innocent = msgspec.json.encode({"model": "tiny", "prompt": "Hi there. " * 600})

    def slow(ask: Any, model: Any, *, real: Any) -> Any:
        if len(ask.prompt.text) > 250_000:
            held.wait(30)
        return real(ask, model)

    from services.gateway.rest import tokenizing

    real = tokenizing._tokenized
    with patch.object(tokenizing, "_tokenized", lambda ask, model: slow(ask, model, real=real)):
        async with besieged() as siege:
            attacks = [asyncio.create_task(siege.post("mallory", "/tokenize", attack)) for _ in range(8)]
            await siege.until_held(8 * 300_000, "pdmesh_gateway_rendering_bytes")
            for _ in range(5):
                assert (await siege.post("alice", "/tokenize", innocent)).status == 200
            assert await siege.innocent() == [200] * 5
            held.set()
            assert [(await one).status for one in attacks] == [400] * 8


async def test_what_is_in_work_is_bounded_by_tenant(besieged: Besiege) -> None:
    held = threading.Event()
    body = msgspec.json.encode({"model": "tiny", "prompt": "a" * 100_000})
    with patch("services.gateway.rest.tokenizing._tokenized", lambda *_: held.wait(30)):
        async with besieged(limits={"rendering_size_bytes_max": 1_000_000}) as siege:
            attacks = [asyncio.create_task(siege.post("mallory", "/tokenize", body)) for _ in range(8)]
            # Each is first parsed and then tokenised, and holds room while it waits for either.
            done, waiting = await asyncio.wait(attacks, return_when=asyncio.FIRST_COMPLETED)
            refused = done.pop().result()
            assert (refused.status, b"rendering_full" in refused.body) == (503, True)
            assert int(refused.headers["retry-after"]) >= 1
            assert (await siege.post("alice", "/v1/completions", INNOCENT)).status == 200
            held.set()
            await asyncio.wait(waiting)
            await siege.until_free("pdmesh_gateway_rendering_bytes")
