"""Vectors of a real engine, through a whole mesh and the official client, beside those of transformers."""

from pathlib import Path

import pytest
from openai import BadRequestError, OpenAI

from tests.e2e import tiny_encoder
from tests.mesh.harness import Mesh
from tools.tiny_model import tokenizer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

TEXTS = ["a text", "another text, which is longer", "The end.", "x" * tiny_encoder.POSITIONS]


def test_vectors_are_those_of_transformers(tmp_path: Path) -> None:
    model = tiny_encoder.build(tmp_path / "encoder")
    token_ids = [tokenizer().encode(text).ids for text in TEXTS]
    wanted = tiny_encoder.vectors(model, token_ids)
    flags = ("--prefill", "0", "--decode", "1", "--dtype", "float32")
    with (
        Mesh(model, tmp_path, *flags, start_s_max=200.0) as mesh,
        OpenAI(base_url=f"{mesh.url}/v1", api_key="none", max_retries=0, timeout=60) as client,
    ):
        for given in (TEXTS, token_ids):
            made = client.embeddings.create(model="encoder", input=given)
            for entry, expected in zip(made.data, wanted, strict=True):
                assert entry.embedding == pytest.approx(expected.tolist(), abs=1e-4)
        assert made.usage.prompt_tokens == sum(map(len, TEXTS))
        plain = client.embeddings.create(model="encoder", input=TEXTS[0], encoding_format="float")
        assert plain.data[0].embedding == pytest.approx(wanted[0].tolist(), abs=1e-4)
        with pytest.raises(BadRequestError, match="maximum length is 128"):
            client.embeddings.create(model="encoder", input=TEXTS[3] + "x")
        with pytest.raises(BadRequestError, match="only of 128"):
            client.embeddings.create(model="encoder", input="x", dimensions=64)
        with pytest.raises(BadRequestError, match="/v1/embeddings"):
            client.completions.create(model="encoder", prompt="x", max_tokens=1)
