"""Cutting, embedding and finding."""

import stat
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import BadSetting
from services.retriever.embedding import HashingEmbedder, open_embedder
from services.retriever.passages import cut
from services.retriever.vector_store import StoredDocument, VectorStore

EMBEDDER = HashingEmbedder()
ANIMALS = {
    "parrot": "The Norwegian Blue is a remarkable parrot with beautiful plumage.",
    "swan": "An unladen European swallow flies at about eleven metres a second; swans are slower.",
    "llama": "Llamas live in the Andes and carry loads over high passes.",
    "tax": "Income above the allowance is taxed at the marginal rate of its band.",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VectorStore]:
    made = VectorStore(str(tmp_path / "p.db"), EMBEDDER.dimensions, EMBEDDER.name)
    yield made
    made.close()


def document(name: str, text: str) -> StoredDocument:
    passages = cut(text, 200)
    return StoredDocument(name, f"{name}.md", passages, EMBEDDER.embed(passages))


def names(store: VectorStore, query: str, scope: tuple[str, str] = ("", "")) -> list[str]:
    (vector,) = EMBEDDER.embed([query])
    return [found.passage_id for found in store.search(scope, vector, 3)]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("What colour is a parrot's plumage?", "parrot"),
        ("how fast does a swallow fly", "swan"),
        ("Where do llamas live?", "llama"),
        ("marginal tax rates", "tax"),
    ],
)
def test_the_right_passage_comes_first(store: VectorStore, query: str, name: str) -> None:
    store.put(("", ""), [document(n, text) for n, text in ANIMALS.items()])
    assert names(store, query)[0] == f"{name}#0"


def test_tenants_and_collections_are_apart(store: VectorStore) -> None:
    store.put(("a", "x"), [document("parrot", ANIMALS["parrot"])])
    assert names(store, "parrot", ("a", "x")) == ["parrot#0"]
    assert names(store, "parrot", ("b", "x")) == names(store, "parrot", ("a", "y")) == []


def test_a_document_is_replaced_and_deleted_with_all_its_passages(store: VectorStore) -> None:
    long = "\n\n".join(f"Paragraph {n} about parrots. " * 5 for n in range(10))
    assert store.put(("", ""), [document("d", long)]) >= 10
    assert store.put(("", ""), [document("d", ANIMALS["llama"])]) == 1
    assert names(store, "parrots paragraph") == []
    assert store.delete(("", ""), ["d", "nobody"]) == 1
    assert names(store, "llamas") == []


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "p.db")
    first = VectorStore(path, EMBEDDER.dimensions, EMBEDDER.name)
    first.put(("", ""), [document("parrot", ANIMALS["parrot"])])
    first.close()
    second = VectorStore(path, EMBEDDER.dimensions, EMBEDDER.name)
    assert names(second, "parrot") == ["parrot#0"]
    second.close()
    with pytest.raises(BadSetting, match="holds vectors of"):
        VectorStore(path, EMBEDDER.dimensions, "another")


def test_a_store_that_cannot_be_opened_is_a_bad_setting(tmp_path: Path) -> None:
    with pytest.raises(BadSetting):
        VectorStore(str(tmp_path / "no" / "p.db"), 8, "e")


def test_related_words_are_close() -> None:
    taxes, taxed, llama = EMBEDDER.embed(["retrieval", "retriever", "llama"])

    def cosine(a: "array[float]", b: "array[float]") -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert cosine(taxes, taxed) > 0.05 > cosine(taxes, llama)


@given(st.text(st.sampled_from("ab .\n?ü"), max_size=600), st.integers(10, 80))
def test_cutting_keeps_every_word_within_its_bound(text: str, chars_max: int) -> None:
    passages = cut(text, chars_max)
    assert all(0 < len(passage) <= chars_max for passage in passages)
    assert "".join("".join(passages).split()) == "".join(text.split())


def test_an_embedder_of_ones_own_is_named_by_its_class() -> None:
    assert open_embedder("hashing").dimensions == 1_024
    own = open_embedder("services.retriever.embedding:HashingEmbedder")
    assert own.name == EMBEDDER.name
    for wrong in ("nothing", "no.module:Class", "services.retriever.embedding:Nobody"):
        with pytest.raises(BadSetting):
            open_embedder(wrong)


def test_documents_are_for_their_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    path.touch(mode=0o644)
    made = VectorStore(str(path), EMBEDDER.dimensions, EMBEDDER.name)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    made.close()
    assert set(modes.values()) == {0o600}, modes
