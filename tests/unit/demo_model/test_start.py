"""A model that has learned nothing yet already copies: its first two layers find what stood before."""

from __future__ import annotations

from random import Random

import pytest
from tokenizers import Tokenizer

torch = pytest.importorskip("torch")

from tools.demo_model import corpus, start, tokenizer  # noqa: E402
from tools.demo_model.model import Model, Shape, attend  # noqa: E402

STRETCH_TOKENS = 60


@pytest.fixture(scope="module")
def built() -> Tokenizer:
    return tokenizer.build(corpus.tokenizer_texts(1, 500))


@pytest.fixture(scope="module")
def begun(built: Tokenizer) -> Model:
    model = Model(Shape())
    start.resemble(model, built, 1)
    start.match(model, 1)
    return model


def test_an_untrained_model_goes_on_with_what_it_has_seen(begun: Model) -> None:
    rng = Random(3)
    ids = rng.sample(range(300, begun.shape.vocab_size), 400)
    copied = ids[100 : 100 + STRETCH_TOKENS]
    with torch.inference_mode():
        predicted = begun.logits(begun(torch.tensor([ids + copied])))[0].argmax(-1).tolist()
    guesses = predicted[len(ids) + 3 : -1]
    right = sum(guess == wanted for guess, wanted in zip(guesses, copied[4:], strict=True))
    assert right > 0.8 * len(guesses)


def test_forms_of_a_word_resemble_each_other(begun: Model, built: Tokenizer) -> None:
    vectors = begun.embed_tokens.weight.detach()

    def likeness(one: str, other: str) -> float:
        first, second = (vectors[built.encode(text).ids[0]] for text in (one, other))
        return float(torch.nn.functional.cosine_similarity(first, second, dim=0))

    assert likeness("fox", " fox") > 0.7
    assert abs(likeness("fox", " river")) < 0.4


def test_attention_in_parts_is_causal_attention() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 4, 300, 16), torch.randn(2, 2, 300, 16), torch.randn(2, 2, 300, 16)
    wanted = torch.nn.functional.scaled_dot_product_attention(
        q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1), is_causal=True
    )
    torch.testing.assert_close(attend(q, k, v), wanted, atol=1e-5, rtol=1e-4)
