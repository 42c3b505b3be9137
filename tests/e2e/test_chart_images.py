"""What the chart's containers need of vLLM is there, by vLLM's own word."""

import json
import shutil
from pathlib import Path

import pytest

from tests.deploy.chart import VALUES, pods, render
from tests.deploy.container import MODEL, check

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]
LLAMA = "llama-3.3-70b-fp8-h100.yaml"


def with_llamas_tokens(directory: Path) -> Path:
    """The demo model, whose tokenizer has the token with which Llama 3 begins a tool call."""
    model = Path(shutil.copytree(MODEL, directory / "model"))
    file = model / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    last = tokenizer["added_tokens"][-1]
    added = {**last, "id": len(tokenizer["model"]["vocab"]), "content": "<|python_tag|>"}
    tokenizer["added_tokens"].append(added)
    file.write_text(json.dumps(tokenizer))
    return model


def test_the_70b_models_gateways_find_their_parser(tmp_path: Path) -> None:
    (container,) = pods(render(LLAMA))["gateway"]["containers"]
    answer = check(container, tmp_path, {"--model": str(with_llamas_tokens(tmp_path))})
    assert answer.code == 0, answer.said


def test_a_parser_that_vllm_does_not_have_is_named(tmp_path: Path) -> None:
    (container,) = pods(render(LLAMA))["gateway"]["containers"]
    answer = check(container, tmp_path, {"--tool-call-parser": "llama9_json"})
    assert answer.code == 2
    assert "llama9_json" in answer.said


@pytest.mark.parametrize("tier", ["prefill", "decode"])
@pytest.mark.parametrize("values", sorted(file.name for file in VALUES.glob("*.yaml")))
def test_workers_find_their_engine(values: str, tier: str, tmp_path: Path) -> None:
    (container,) = pods(render(values))[tier]["containers"]
    answer = check(container, tmp_path, {})
    assert answer.code == 0, answer.said
