"""The gateway's own templates and detokenizers against vLLM's renderer and detokenizer, byte for byte."""

import json
import random
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.common.domain.tokens import tokens
from services.common.limits import DEFAULTS
from services.gateway.models.rendering import ModelFiles, Renderer
from services.gateway.rest.openai.chat import parse_chat

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

DEMO = Path("models/demo")
PARAMETERS = {"type": "object", "properties": {"a": {"type": "integer", "description": "ä < 1"}}}
ADD = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": PARAMETERS}}
BARE = {"type": "function", "function": {"name": "now"}}
STRICT = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {}}}
HI = {"role": "user", "content": "Hi Köln 😀  <|im_end|> \n"}


def called(arguments: Any) -> dict[str, Any]:
    call = {"id": "x", "type": "function", "function": {"name": "add", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def parts(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


CHATS: list[dict[str, Any]] = [
    {"messages": [HI]},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            HI,
            {"role": "assistant", "content": "Ok."},
            HI,
        ]
    },
    {"messages": [{"role": "developer", "content": "Be brief."}, HI]},
    {"messages": [{"role": "user", "content": parts("a", "b\n", "")}]},
    {"messages": [{"role": "user", "content": ""}]},
    {"messages": [{**HI, "name": "Ann"}]},
    {"messages": [HI], "tools": [ADD, BARE, STRICT]},
    {"messages": [HI], "tools": [ADD], "tool_choice": "none"},
    {"messages": [HI], "tools": [ADD], "tool_choice": "required", "parallel_tool_calls": False},
    {
        "messages": [
            HI,
            called('{"a": 1, "b": "ä<"}'),
            {"role": "tool", "tool_call_id": "x", "content": "3"},
        ],
        "tools": [ADD],
    },
    {
        "messages": [HI, called("{}"), {"role": "tool", "tool_call_id": "x", "content": parts("3", "4")}],
    },
    {"messages": [HI, called("[1]")]},
    {"messages": [HI, called('{"a')]},
    {"messages": [HI, called("")]},
    {"messages": [HI, {"role": "assistant", "content": "A", "reasoning": "because"}]},
    {
        "messages": [HI, {"role": "assistant", "content": "Once "}],
        "continue_final_message": True,
        "add_generation_prompt": False,
    },
    {"messages": [HI, {"role": "assistant", "content": "Once"}], "add_generation_prompt": False},
    {"messages": [HI], "chat_template_kwargs": {"x": 1}, "reasoning_effort": "low"},
]

TEXTS = [
    "Grüße aus Köln, 東京 и Москва 😀😀 and thanks.",
    "def f(x):\n    return x\t# ok\r\n\n\n",
    "👩‍👩‍👧‍👦 e\u0301 \u200b \u00a0 end",
    '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>',
    " leading and trailing ",
    "a" * 50,
    "1234567890 3.14159 x² ½ ﷽ \U0010ffff",
    "",
]


@pytest.fixture(scope="module")
def theirs() -> Any:
    """vLLM's renderer of the demo model; it needs no engine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from vllm.config import ModelConfig, VllmConfig
        from vllm.renderers import renderer_from_config

        return renderer_from_config(VllmConfig(model_config=ModelConfig(model=str(DEMO))))


@pytest.fixture(scope="module")
def ours() -> Renderer:
    return Renderer(ModelFiles.read(DEMO))


@pytest.mark.parametrize("body", CHATS)
def test_the_same_prompt(theirs: Any, ours: Renderer, body: dict[str, Any]) -> None:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    whole = {"model": "m", "max_completion_tokens": 5, **body}
    generation = parse_chat(json.dumps(whole).encode(), DEFAULTS)
    request = ChatCompletionRequest.model_validate(json.loads(json.dumps(whole)))
    tools = [tool.model_dump() for tool in request.tools] if request.tools else None
    params = request.build_chat_params(None, "auto").with_defaults({"tools": tools, "tokenize": False})
    _, (prompt,) = theirs.render_chat(
        [request.messages], params, request.build_tok_params(theirs.model_config)
    )
    assert list(generation.prompts[0].render(ours, 100_000)) == prompt["prompt_token_ids"]


def their_pieces(theirs: Any, prompt: list[int], ids: list[int], *, shows_special: bool) -> list[str]:
    """What vLLM's detokenizer makes of each token, and at the end."""
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine.detokenizer import IncrementalDetokenizer

    params = SamplingParams(skip_special_tokens=not shows_special)
    request = SimpleNamespace(sampling_params=params, prompt_token_ids=prompt, request_id="r")
    detokenizer = IncrementalDetokenizer.from_new_request(theirs.tokenizer, request)
    pieces = []
    for token_id in ids:
        detokenizer.update([token_id], False)
        pieces.append(detokenizer.get_next_output_text(False, True))
    return [*pieces, detokenizer.get_next_output_text(True, True)]


def our_pieces(ours: Renderer, prompt: list[int], ids: list[int], *, shows_special: bool) -> list[str]:
    detokenizer = ours.open_detokenizer(tokens(prompt), shows_special=shows_special)
    return [*[detokenizer.push(tokens([token_id])) for token_id in ids], detokenizer.finish()]


@pytest.mark.parametrize("shows_special", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_the_same_text_token_by_token(theirs: Any, ours: Renderer, text: str, shows_special: bool) -> None:
    prompt = list(
        parse_chat(json.dumps({"model": "m", **CHATS[0]}).encode(), DEFAULTS).prompts[0].render(ours, 100_000)
    )
    ids = theirs.tokenizer.encode(text, add_special_tokens=False)
    made = our_pieces(ours, prompt, ids, shows_special=shows_special)
    assert made == their_pieces(theirs, prompt, ids, shows_special=shows_special)


def test_the_same_text_of_tokens_that_say_nothing(theirs: Any, ours: Renderer) -> None:
    """Random tokens, with broken characters all over. At the end vLLM leaves a cut character out, and the
    gateway shows U+FFFD for it, as decoding all tokens at once does.
    """
    random_ids = random.Random(7)
    for _ in range(300):
        ids = [random_ids.randrange(ours.vocabulary_size) for _ in range(random_ids.randrange(1, 30))]
        made = "".join(our_pieces(ours, [1], ids, shows_special=False))
        assert made == theirs.tokenizer.decode(ids, skip_special_tokens=True)
        vllm = "".join(their_pieces(theirs, [1], ids, shows_special=False))
        assert made.rstrip("�") == vllm.rstrip("�")
