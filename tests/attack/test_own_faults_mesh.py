"""Requests that fail by their own fault, at every door of a whole mesh, beside a tenant's usual traffic."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer

from pdmesh.client import Client, Invalid, Sampling, StructuredOutput
from tests.mesh import model
from tests.mesh.conftest import SIM
from tests.mesh.harness import Mesh, run_cli

pytestmark = pytest.mark.timeout(240)

CHOKE = "Q"
"""A byte, and so a token, on which this mesh's engines fail a request without saying whose fault it is."""
A = model.tokenizer().token_to_id("a")
CIRCLE = {"$ref": "#"}
SHORT, LONG = "a question", "a question of bytes, long enough for the disaggregated path, " * 4


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    directory = model.build(tmp_path_factory.mktemp("model") / "words")
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save(str(directory / "tokenizer.json"))
    choke = ("--engine-arg", f"choke-token={tokenizer.token_to_id(CHOKE)}")
    with Mesh(directory, tmp_path_factory.mktemp("mesh"), *SIM, *choke) as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture
def client(mesh: Mesh) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{mesh.url}/v1", timeout=60) as made:
        yield made


@pytest.fixture(autouse=True)
def nobody_is_blamed(mesh: Mesh) -> Iterator[None]:
    """After every attack all workers serve and no router has shut anything out."""
    yield
    fleet = run_cli(["fleet", "--json", "--router", mesh.facts["urls"]["router"]])
    assert fleet.returncode == 0, fleet.stderr
    assert "suspended" not in fleet.stdout
    assert "shut out" not in mesh.logs(lines=1_000)


def chat(client: httpx.Client, question: str, **fields: Any) -> httpx.Response:
    messages = [{"role": "user", "content": question}]
    return client.post(
        "/chat/completions", json={"model": "words", "max_tokens": 9, "messages": messages, **fields}
    )


def complete(client: httpx.Client, question: str, **fields: Any) -> httpx.Response:
    return client.post("/completions", json={"model": "words", "max_tokens": 9, "prompt": question, **fields})


def respond(client: httpx.Client, question: str, **fields: Any) -> httpx.Response:
    return client.post(
        "/responses", json={"model": "words", "max_output_tokens": 9, "input": question, **fields}
    )


def message(client: httpx.Client, question: str, **fields: Any) -> httpx.Response:
    messages = [{"role": "user", "content": question}]
    return client.post("/messages", json={"model": "words", "max_tokens": 9, "messages": messages, **fields})


SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": CIRCLE}}
ATTACKS = [
    (chat, {"response_format": SCHEMA}, "response_format"),
    (chat, {"guided_grammar": "root ::= root"}, "guided_grammar"),
    (chat, {"allowed_token_ids": [A], "bad_words": ["a"]}, "allowed_token_ids"),
    (chat, {"logit_bias": {"5000": 1}}, "logit_bias"),
    (complete, {"structured_outputs": {"json": CIRCLE}}, "structured_outputs"),
    (complete, {"stop_token_ids": [5000]}, "stop_token_ids"),
    (complete, {"prompt": [4_500, 4_600]}, "prompt"),
    (complete, {"prompt": "an <extra> token"}, "prompt"),
    (chat, {"messages": [{"role": "user", "content": "an <extra> token"}]}, "messages"),
    (respond, {"input": "an <extra> token"}, "input"),
    (
        respond,
        {"text": {"format": {"type": "json_schema", "name": "x", "schema": CIRCLE}}},
        "text.format",
    ),
    (
        message,
        {"output_config": {"format": {"type": "json_schema", "schema": CIRCLE}}},
        "output_config.format",
    ),
]


@pytest.mark.parametrize("question", [SHORT, LONG], ids=["local", "handoff"])
def test_each_door_says_400_and_names_the_field(client: httpx.Client, question: str) -> None:
    for door, fields, field in ATTACKS:
        answer = door(client, question, **fields)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field), answer.text


def test_a_stream_that_has_not_begun_says_so_too(client: httpx.Client) -> None:
    answer = chat(client, LONG, stream=True, response_format=SCHEMA)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_field"


def test_the_grpc_door_says_invalid_argument(mesh: Mesh) -> None:
    with Client(mesh.facts["grpc"]) as asking:
        for sampling, prompt, field in (
            (Sampling(5, structured_output=StructuredOutput(json_schema=json.dumps(CIRCLE))), [5] * 9, ""),
            (Sampling(5, allowed_token_ids=[A], bad_words=["a"]), [5] * 200, "allowed_token_ids"),
            (Sampling(5), [4_500], "prompt"),
        ):
            with pytest.raises(Invalid) as caught:
                asking.generate("words", prompt, sampling).whole()
            assert caught.value.field == (field or "structured_outputs")


def test_failures_that_no_other_shares_leave_others_alone(client: httpx.Client) -> None:
    """The engines say nothing but that they failed; beside them runs one long answer and many short ones."""
    with ThreadPoolExecutor(5) as threads:
        long = [threads.submit(complete, client, text, max_tokens=400) for text in (SHORT, LONG)]
        innocents = [threads.submit(complete, client, SHORT + str(n), max_tokens=5) for n in range(12)]
        attacks = [threads.submit(chat, client, f"{SHORT} {CHOKE} {n}", max_tokens=5) for n in range(12)]
        assert {future.result().status_code for future in long + innocents} == {200}
        answers = [attack.result() for attack in attacks]
    assert {answer.status_code for answer in answers} == {400}
    assert {answer.json()["error"]["code"] for answer in answers} == {"request_failed"}
