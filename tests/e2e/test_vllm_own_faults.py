"""Requests that fail by their own fault, on real engines: the caller's error, once.

One prefill and one decode worker of the demo model; both paths.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.mesh.harness import Mesh, run_cli

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DEMO = Path("models/demo")
START_S_MAX = 380.0
SHORT, LONG = "What is 12 + 30?", "What is 12 + 30? " * 20
"""Prompts of the local path, and of the handoff."""
CIRCLE = {"$ref": "#"}
LOOP = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": CIRCLE}}
AMBIGUOUS = (
    "root ::= e\ne ::= e e e | e e | [a-z ]",
    "root ::= x x x x x x x x\nx ::= [a-z ]* | x x",
    "root ::= a\na ::= a b | b a | [a-z ]\nb ::= b a | a b | [a-z ]",
)
EOS = 2


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    flags = ("--max-model-len", "4096", "--dtype", "float32")
    with Mesh(DEMO, tmp_path_factory.mktemp("mesh"), *flags, start_s_max=START_S_MAX) as running:
        yield running


@pytest.fixture
def client(mesh: Mesh) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{mesh.url}/v1", timeout=120) as made:
        yield made


@pytest.fixture(autouse=True)
def nobody_is_blamed(mesh: Mesh) -> Iterator[None]:
    """After every attack both workers serve, none has been started anew, and nothing is shut out."""
    before = mesh.pids
    yield
    assert mesh.pids == before
    assert "suspended" not in run_cli(["fleet", "--json", "--router", mesh.facts["urls"]["router"]]).stdout
    assert "shut out" not in mesh.logs(lines=1_000)


def chat(client: httpx.Client, question: str = SHORT, **fields: Any) -> httpx.Response:
    messages = [{"role": "user", "content": question}]
    body = {"model": "demo", "messages": messages, "max_tokens": 50, "temperature": 0.0, **fields}
    return client.post("/chat/completions", json=body)


def answers_are_right(client: httpx.Client) -> bool:
    """Whether innocent requests of both paths are answered, at the first try."""
    answers = [chat(client, text, max_tokens=5, pdmesh={"receipt": True}) for text in (SHORT, LONG)]
    return all(a.status_code == 200 and a.json()["pdmesh"]["retries"] == 0 for a in answers)


@pytest.fixture(scope="module")
def impossible(mesh: Mesh) -> list[tuple[dict[str, Any], str]]:
    """What passes validation and leaves no token, and the field that is named."""
    body = {"model": "demo", "prompt": "a", "add_special_tokens": False}
    [a] = httpx.post(f"{mesh.url}/tokenize", json=body, timeout=60).json()["tokens"]
    return [
        ({"response_format": SCHEMA}, "response_format"),
        ({"guided_json": LOOP}, "guided_json"),
        ({"guided_grammar": "root ::= root"}, "guided_grammar"),
        ({"structured_outputs": {"grammar": 'root ::= "a" x\nx ::= x'}}, "structured_outputs"),
        ({"guided_grammar": "root ::= [^\\x00-\\U0010FFFF]"}, "guided_grammar"),
        ({"guided_regex": r"[^\s\S]"}, "guided_regex"),
        ({"guided_regex": "(?!)"}, "guided_regex"),
        ({"guided_json": {"type": "integer", "minimum": 5, "maximum": 3}}, "guided_json"),
        ({"guided_choice": ["yes", "no"], "allowed_token_ids": [a]}, "guided_choice"),
        ({"allowed_token_ids": [a], "bad_words": ["a"]}, "allowed_token_ids"),
        ({"allowed_token_ids": [a], "bad_words": ["aa"]}, "allowed_token_ids"),
        ({"allowed_token_ids": [EOS], "min_tokens": 3}, "allowed_token_ids"),
    ]


@pytest.mark.parametrize("question", [SHORT, LONG], ids=["local", "handoff"])
def test_what_leaves_no_token_is_the_caller_s_error(
    client: httpx.Client, impossible: list[tuple[dict[str, Any], str]], question: str
) -> None:
    for fields, field in impossible:
        for temperature in (0.0, 1.0):
            answer = chat(client, question, temperature=temperature, **fields)
            assert answer.status_code == 400, (fields, answer.text)
            error = answer.json()["error"]
            assert (error["code"], error["param"]) == ("invalid_field", field)
            assert "/project/" not in error["message"]
    assert answers_are_right(client)


def test_others_are_answered_beside_a_crowd_of_them(client: httpx.Client) -> None:
    with ThreadPoolExecutor(2) as attackers:
        attacks = [
            attackers.submit(chat, client, LONG if i % 2 else SHORT, response_format=SCHEMA)
            for i in range(30)
        ]
        assert all(answers_are_right(client) for _ in range(5))
        assert {attack.result().status_code for attack in attacks} == {400}


@pytest.mark.parametrize("grammar", AMBIGUOUS)
def test_an_ambiguous_grammar_ends_alone(client: httpx.Client, grammar: str) -> None:
    """Without end-of-sequence, so that each must go on until its allowance is used up."""
    fields = {"guided_grammar": grammar, "max_tokens": 3_000, "temperature": 1.0, "logit_bias": {EOS: -100}}
    with ThreadPoolExecutor(2) as attackers:
        attacks = [attackers.submit(chat, client, text, **fields) for text in (SHORT, LONG)]
        assert answers_are_right(client)
        for attack in attacks:
            answer = attack.result()
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "guided_grammar")
            assert "ms a token" in answer.json()["error"]["message"]
    assert answers_are_right(client)
