"""Names of models over REST: aliases, versions, auto, adapters, and a file that changes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from pdmesh.router.v1 import router_pb2
from services.common.errors import BadSetting, ModelMissing
from services.gateway.settings import Settings
from tests.unit.gateway.model_directory import write_model
from tests.wire.gateway.conftest import Edge, running_edge, running_gateway
from tests.wire.gateway.fake_router import FakeRouter
from tests.wire.gateway.keyed import ask, eventually
from tests.wire.gateway.raw_http import RawClient, RawResponse, get

FILE = """
[aliases]
"gpt-4o" = "chat"

[versions.chat.weights]
chat-v1 = {v1}
chat-v2 = {v2}

[adapters.lawyer]
model = "chat-v1"
adapter = "legal-2026"

[auto]
small = "tiny"
large = "chat"
"""


def serves(router: FakeRouter, lens: dict[str, int], adapters: dict[str, list[str]]) -> None:
    """Have the router say which models there are."""
    models = [
        router_pb2.Model(
            name=name,
            max_model_len=length,
            prefill_workers=1,
            decode_workers=1,
            adapters=adapters.get(name, ()),
        )
        for name, length in lens.items()
    ]
    for session in router.sessions:
        session.draft.set_models(router_pb2.ModelList(models=models))
        session.link.wake()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(FILE.format(v1=1, v2=0))
    return path


@asynccontextmanager
async def running(directory: Path, file: Path, **settings: Any) -> AsyncIterator[Edge]:
    async with running_edge(directory, grace_ms=200, models_file=str(file), **settings) as edge:
        lens = {"tiny": 400, "chat-v1": 400, "chat-v2": 300}
        serves(edge.router, lens, {"chat-v1": ["legal-2026", "poems"]})
        edge.router.script = edge.says("Hello")
        while "chat-v1" not in await names(edge.port):
            pass
        yield edge


@pytest.fixture
async def edge(model_directory: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    monkeypatch.setattr("services.gateway.models.routing.live.INTERVAL_S", 0.02)
    async with running(model_directory, file) as opened:
        yield opened


async def names(port: int) -> dict[str, Any]:
    """What /v1/models lists, by name."""
    client = await RawClient.connect(port)
    client.send(get("/v1/models"))
    listed = json.loads((await client.response()).body)["data"]
    await client.close()
    return {model["id"]: model for model in listed}


def rewrite(file: Path, text: str | None) -> None:
    """What somebody does with an editor; None removes the file."""
    if text is None:
        file.unlink()
    else:
        file.write_text(text)


def model_of(response: RawResponse) -> str:
    """The model that an answer shows."""
    return str(json.loads(response.body)["model"])


async def test_an_alias_is_answered_by_its_version_and_says_so(edge: Edge) -> None:
    answer = await ask(edge.port, "", "x-pdmesh-receipt: 1", stream=False, model="gpt-4o")
    why = "gpt-4o is chat; chat is chat-v1 for 100 % of callers"
    assert model_of(answer) == "chat-v1"
    assert answer.headers["x-pdmesh-model-reason"] == why
    assert json.loads(answer.body)["pdmesh"]["model_reason"] == why
    assert edge.router.jobs[0].request.model == "chat-v1"
    streamed = await ask(edge.port, "", model="gpt-4o")
    assert streamed.headers["x-pdmesh-model-reason"] == why
    assert b'"model":"chat-v1"' in streamed.body


async def test_a_model_that_was_named_needs_no_reason(edge: Edge) -> None:
    answer = await ask(edge.port, "", "x-pdmesh-receipt: 1", stream=False, model="tiny")
    assert "x-pdmesh-model-reason" not in answer.headers
    assert "model_reason" not in json.loads(answer.body)["pdmesh"]


async def test_auto_chooses_by_what_is_asked(edge: Edge) -> None:
    easy = await ask(edge.port, "", stream=False, model="auto")
    assert model_of(easy) == "tiny"
    assert easy.headers["x-pdmesh-model-reason"] == "auto: small, nothing hard (0 of 2 points)"
    code = [{"role": "user", "content": "```x = 1```"}]
    hard = await ask(edge.port, "", stream=False, model="auto", messages=code)
    assert model_of(hard) == "chat-v1"
    assert hard.headers["x-pdmesh-model-reason"].startswith("auto: large, code (2 of 2 points); ")


async def test_an_adapter_reaches_the_router_as_an_adapter(edge: Edge) -> None:
    for name, adapter in (("poems", "poems"), ("lawyer", "legal-2026")):
        answer = await ask(edge.port, "", stream=False, model=name)
        assert model_of(answer) == adapter
        request = edge.router.jobs[-1].request
        assert (request.model, request.lora) == ("chat-v1", adapter)


async def test_all_names_are_listed(edge: Edge) -> None:
    listed = await names(edge.port)
    assert sorted(listed) == [
        "auto", "chat", "chat-v1", "chat-v2", "gpt-4o", "lawyer", "legal-2026", "poems", "tiny",
    ]  # fmt: skip
    assert listed["lawyer"]["parent"] == "chat-v1"
    assert (listed["lawyer"]["root"], listed["chat"]["root"]) == ("chat-v1", "chat")
    assert "parent" not in listed["chat"]
    assert listed["chat"]["max_model_len"] == 300
    client = await edge.client()
    client.send(get("/v1/models/gpt-4o"))
    assert (await client.response()).status == 200
    client.send(get("/v1/models/gpt-5"))
    assert (await client.response()).status == 404
    await client.close()


async def test_a_changed_file_holds_without_a_restart(
    edge: Edge, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def model() -> str:
        return model_of(await ask(edge.port, "", stream=False, model="chat"))

    assert await model() == "chat-v1"
    rewrite(file, FILE.format(v1=0, v2=1))
    while await model() != "chat-v2":
        pass
    rewrite(file, FILE.format(v1=0, v2=0))
    await eventually(lambda: "models file NOT reloaded" in caplog.text)
    assert "all weights are 0" in caplog.text
    assert await model() == "chat-v2"
    rewrite(file, None)
    await eventually(lambda: "No such file" in caplog.text)
    assert await model() == "chat-v2"
    rewrite(file, FILE.format(v1=1, v2=0))
    while await model() != "chat-v1":
        pass


async def test_a_conversation_keeps_its_version(edge: Edge, file: Path) -> None:
    async def versions() -> list[str]:
        sessions = [f"x-pdmesh-session: conversation {number}" for number in range(8)]
        return [model_of(await ask(edge.port, "", each, stream=False, model="chat")) for each in sessions]

    rewrite(file, FILE.format(v1=1, v2=1))
    while "chat-v2" not in await versions():
        pass  # the file may be read in the middle of a round, which says nothing of its weights then
    found = await versions()
    assert set(found) == {"chat-v1", "chat-v2"}
    assert [await versions() for _ in range(3)] == [found] * 3


async def test_a_model_may_have_a_tokenizer_of_its_own(
    model_directory: Path, file: Path, tmp_path: Path
) -> None:
    other = write_model(tmp_path / "other")
    tokenizer = Tokenizer.from_file(str(other / "tokenizer.json"))
    template = json.loads((other / "tokenizer_config.json").read_text())
    template["chat_template"] = "{% for m in messages %}<{{ m.content }}>{% endfor %}"
    (other / "tokenizer_config.json").write_text(json.dumps(template))
    rewrite(file, FILE.format(v1=1, v2=0) + f"[models.tiny]\npath = '{other}'\n")
    async with running(model_directory, file, served_model_name="chat-v1") as edge:
        edge.router.script = edge.says("Hello")
        await ask(edge.port, "", stream=False, model="tiny")
        assert tokenizer.decode(list(edge.router.jobs[-1].request.prompt)) == "<Hi>"
        await ask(edge.port, "", stream=False, model="chat-v1")
        assert tokenizer.decode(list(edge.router.jobs[-1].request.prompt)) != "<Hi>"
        assert "chat-v2" not in await names(edge.port)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("[alias]", BadSetting, "did you mean aliases"),
        (None, BadSetting, "No such file"),
        ("[models.x]\npath = '/nowhere'", ModelMissing, "/nowhere"),
        ("[auto]\nsmall = 's'\nlarge = 'l'\nclassifier = 'x'", BadSetting, "neither points nor"),
    ],
)
async def test_a_gateway_does_not_start_with_a_broken_file(
    model_directory: Path, file: Path, text: str | None, error: type[Exception], says: str
) -> None:
    rewrite(file, text)
    settings = Settings(port=0, model=str(model_directory), models_file=str(file))
    with pytest.raises(error, match=says):
        async with running_gateway(settings):
            pass
