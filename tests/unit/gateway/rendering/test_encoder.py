"""The fast library encodes as the exact one does, or is not used."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import fastokens
import pytest
from prometheus_client import CollectorRegistry
from tokenizers import Tokenizer

from services.common.domain.tokens import tokens
from services.gateway.models.metrics import TokenizerMetrics
from services.gateway.models.rendering import ModelFiles, Renderer
from services.gateway.models.rendering.encoder import (
    EXACT,
    FAST,
    CacheUse,
    Encoder,
    ExactEncoder,
    FastEncoder,
    open_encoder,
)
from services.gateway.models.rendering.probes import probes
from tests.unit.gateway.model_directory import write_model
from tests.unit.gateway.rendering import kinds, shipped

Make = Callable[[], Tokenizer]
CACHE_BYTES = 64 * 1024


def texts(tokenizer: Tokenizer) -> Iterator[str]:
    """Other texts than those of the check, and longer ones: about 200 kB."""
    yield from probes(tokenizer, seed=1, mixed=400)
    yield from probes(tokenizer, seed=2, mixed=400)
    yield from (path.read_text() for path in sorted(Path(kinds.__file__).parent.glob("*.py")))
    yield from ("a" * 20_000, " " * 20_000, "é東 " * 5_000, "\u0301" * 3_000, "<|im_end|>" * 1_000)


def assert_same(tokenizer: Tokenizer, encoder: Encoder) -> None:
    exact = ExactEncoder(tokenizer)
    for text in texts(tokenizer):
        for adds_special in (False, True):
            theirs = exact.encode(text, adds_special=adds_special)
            assert encoder.encode(text, adds_special=adds_special) == theirs, repr(text[:200])


@pytest.mark.parametrize("make", kinds.FAST)
@pytest.mark.parametrize("added", [(), kinds.ADDED], ids=["", "added tokens"])
def test_what_is_fast_is_equal(make: Make, added: tuple[object, ...]) -> None:
    tokenizer = make()
    tokenizer.add_tokens(list(added))
    encoder = open_encoder(tokenizer, "m", cache_bytes=CACHE_BYTES)
    assert encoder.library == FAST
    assert_same(tokenizer, encoder)
    assert encoder.refused_texts == 0
    use = encoder.cache_use()
    assert use.size_bytes <= CACHE_BYTES
    assert (use.hits > 0) == bool(tokenizer.get_added_tokens_decoder())


def test_real_vocabularies_are_fast_and_equal() -> None:
    for number, path in enumerate(shipped.files()):
        tokenizer = shipped.read(path, size=(60_000, 15_000)[number > 0])
        encoder = open_encoder(tokenizer, path.name, cache_bytes=0)
        assert encoder.library == FAST
        assert_same(tokenizer, encoder)
        assert encoder.cache_use() == CacheUse()


@pytest.mark.parametrize("make", [kinds.mistral, kinds.unigram_bytes, *kinds.OTHERS])
def test_what_the_fast_library_does_not_take_stays(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = make()
    encoder = open_encoder(tokenizer, "the-model", cache_bytes=CACHE_BYTES)
    assert encoder.library == EXACT
    assert "tokenizer of the-model: tokenizers" in caplog.text
    assert "fastokens does not take it" in caplog.text
    assert encoder.encode("the def", adds_special=True) == tokens(tokenizer.encode("the def").ids)
    assert encoder.cache_use() == CacheUse()


@pytest.mark.parametrize("make", [kinds.gpt2, kinds.llama3, kinds.demo])
def test_what_differs_stays(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Where whitespace is a token, the fast library lets a token beside it take none of it."""
    tokenizer = make()
    tokenizer.add_tokens([*kinds.ADDED, kinds.SPACES])
    assert open_encoder(tokenizer, "m", cache_bytes=0).library == EXACT
    assert "differently" in caplog.text


def test_a_text_past_the_fast_library_s_limits_is_encoded_all_the_same() -> None:
    tokenizer = kinds.deepseek()
    exact = ExactEncoder(tokenizer)
    limited = fastokens.Tokenizer.from_json_str(tokenizer.to_str(), pcre2_match_limit=1)
    encoder = FastEncoder(limited, exact)
    text = "The quick brown fox 123"
    assert encoder.encode(text, adds_special=False) == exact.encode(text, adds_special=False)
    assert encoder.refused_texts == 1


def test_metrics_say_what_encodes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    encoder = Renderer(ModelFiles.read(write_model(tmp_path))).encoder
    assert f"tokenizer of {tmp_path}: fastokens" in caplog.text
    registry = CollectorRegistry()
    TokenizerMetrics(lambda: {"*": encoder, "other": ExactEncoder(kinds.bert())}, registry)
    for _ in range(3):
        encoder.encode("<|im_start|>a text that comes again<|im_end|>", adds_special=False)

    def value(name: str, model: str = "*") -> float | None:
        return registry.get_sample_value(f"pdmesh_gateway_tokenizer_{name}", {"model": model})

    assert (value("fast"), value("fast", "other")) == (1, 0)
    assert value("refused_texts_total") == 0
    assert value("cache_hits_total") == 2
    assert value("cache_misses_total") == 1
    assert value("cache_bytes") == encoder.cache_use().size_bytes > 0
    assert value("cache_bytes", "other") == 0
