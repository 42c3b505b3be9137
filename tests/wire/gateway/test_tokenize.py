"""/tokenize and /detokenize, in vLLM's shapes."""

import json
from typing import Any

import pytest

from tests.wire.gateway.conftest import Edge
from tests.wire.gateway.raw_http import post

HI = [{"role": "user", "content": "Hi"}]
HI_TEXT = "<|im_start|>user\nHi<|im_end|>\n"
TURN = "<|im_start|>assistant\n"


async def ask(edge: Edge, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    client = await edge.client()
    client.send(post(path, json.dumps(body).encode()))
    response = await client.response()
    await client.close()
    return response.status, json.loads(response.body)


async def test_a_text(edge: Edge) -> None:
    status, answer = await ask(edge, "/tokenize", model="tiny", prompt="Grüße 東京")
    ids = edge.ids("Grüße 東京")
    assert status == 200
    assert answer == {"count": len(ids), "max_model_len": 400, "tokens": ids, "token_strs": None}
    assert edge.router.jobs == []


async def test_tokens_by_their_names(edge: Edge) -> None:
    _, answer = await ask(edge, "/tokenize", prompt="thanks a lot", return_token_strs=True)
    assert answer["token_strs"] == [edge.tokenizer.id_to_token(i) for i in answer["tokens"]]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, HI_TEXT + TURN),
        ({"add_generation_prompt": False}, HI_TEXT),
        ({"continue_final_message": True}, "<|im_start|>user\nHi"),
    ],
)
async def test_a_conversation(edge: Edge, options: dict[str, Any], text: str) -> None:
    _, answer = await ask(edge, "/tokenize", model="tiny", messages=HI, **options)
    assert answer["tokens"] == edge.ids(text)


async def test_there_and_back(edge: Edge) -> None:
    text = 'Köln, 東京 and Москва 😀 "quoted"'
    _, made = await ask(edge, "/tokenize", prompt=text)
    assert await ask(edge, "/detokenize", model="tiny", tokens=made["tokens"]) == (200, {"prompt": text})


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/tokenize", {"model": "tiny"}, 400, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": HI}, 400, "prompt"),
        ("/tokenize", {"prompt": 3}, 400, "prompt"),
        ("/tokenize", {"messages": []}, 400, "messages"),
        ("/tokenize", {"messages": HI, "add_special_tokens": True}, 400, "add_special_tokens"),
        ("/tokenize", {"messages": HI, "chat_template": "x"}, 400, "chat_template"),
        ("/tokenize", {"model": "other", "prompt": "a"}, 404, "model"),
        ("/detokenize", {"model": "tiny"}, 400, "tokens"),
        ("/detokenize", {"tokens": [1, -1]}, 400, "tokens"),
        ("/detokenize", {"tokens": [2**40]}, 400, "tokens"),
        ("/detokenize", {"tokens": [99_999]}, 400, "tokens"),
        ("/detokenize", {"tokens": ["a"]}, 400, "tokens[0]"),
    ],
)
async def test_what_is_refused(edge: Edge, path: str, body: dict[str, Any], status: int, field: str) -> None:
    given, answer = await ask(edge, path, **body)
    assert (given, answer["error"]["param"]) == (status, field)
