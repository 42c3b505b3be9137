"""Transcripts: tokens become what a caller reads."""

import pytest

from services.common.domain import TokenLogprobs
from services.common.domain.logprobs import logprobs
from services.common.domain.tokens import tokens
from services.gateway.call.transcripts import (
    DetailedTranscript,
    PlainTranscript,
    SilentTranscript,
    Transcript,
)
from services.gateway.models.rendering import ModelFiles, Renderer
from tests.unit.gateway.model_directory import write_model


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    return ModelFiles.read(write_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def renderer(files: ModelFiles) -> Renderer:
    return Renderer(files)


def ids_of(files: ModelFiles, text: str) -> list[int]:
    return list(files.tokenizer.encode(text, add_special_tokens=False).ids)


def read(transcript: Transcript, ids: list[int]) -> str:
    """The text of tokens that come one by one."""
    pieces = []
    for token_id in ids:
        pieces.append(transcript.push(tokens([token_id]), None))
        if transcript.is_stopped:
            break
    pieces.append(transcript.finish())
    return "".join(piece.text for piece in pieces if piece is not None)


def test_a_prompt_comes_first_and_once(files: ModelFiles, renderer: Renderer) -> None:
    transcript = PlainTranscript(renderer.open_detokenizer(), begins_with="Once ")
    assert read(transcript, ids_of(files, "upon")) == "Once upon"
    silent = PlainTranscript(renderer.open_detokenizer(), begins_with="Once ")
    assert read(silent, []) == "Once "


def test_a_stop_string_is_not_looked_for_in_the_prompt(files: ModelFiles, renderer: Renderer) -> None:
    transcript = PlainTranscript(renderer.open_detokenizer(), ["n"], begins_with="Once ")
    assert read(transcript, ids_of(files, "upon")) == "Once upo"
    assert transcript.stopped_by == "n"


def test_after_a_stop_string_nothing_is_held_back(files: ModelFiles, renderer: Renderer) -> None:
    transcript = PlainTranscript(renderer.open_detokenizer(), ["b"])
    assert transcript.push(tokens([*ids_of(files, "ab"), ids_of(files, "京")[0]]), None).text == "a"
    assert transcript.finish() is None


def test_tokens_that_end_an_answer_are_not_shown(files: ModelFiles, renderer: Renderer) -> None:
    transcript = PlainTranscript(renderer.open_detokenizer(), hidden_ids=ids_of(files, ","))
    assert read(transcript, ids_of(files, "a,b,")) == "ab"


def test_details_come_with_every_frame(files: ModelFiles, renderer: Renderer) -> None:
    """The second token is half a character: its text waits, its details do not."""
    first, half = ids_of(files, "a")[0], ids_of(files, "京")[0]
    inner = PlainTranscript(renderer.open_detokenizer())
    transcript = DetailedTranscript(inner, renderer.token, has_ids=True)
    described = TokenLogprobs(1, logprobs([-1.0]), tokens([first]), logprobs([float("-inf")]))
    one = transcript.push(tokens([first]), described)
    two = transcript.push(tokens([half]), described)
    assert (one.text, list(one.token_ids), one.logprobs[0].text) == ("a", [first], "a")
    assert one.logprobs[0].top[0].logprob == -9999.0
    assert (two.text, list(two.token_ids), two.logprobs[0].token_id) == ("", [half], half)
    assert transcript.finish().text == "�"


def test_a_frame_of_several_tokens(files: ModelFiles, renderer: Renderer) -> None:
    ids = tokens(ids_of(files, "a, b"))
    count = len(ids)
    described = TokenLogprobs(2, logprobs([-1.0] * count), ids + ids, logprobs([-2.0] * 2 * count))
    made = DetailedTranscript(SilentTranscript(), renderer.token, has_ids=False).push(ids, described)
    assert (made.text, made.token_ids) == ("", None)
    assert [token.token_id for token in made.logprobs] == list(ids)
    assert [len(token.top) for token in made.logprobs] == [2] * count
    assert made.logprobs[1].top[0].token_id == (ids + ids)[2]


def test_words_to_avoid_as_vllm_reads_them(files: ModelFiles, renderer: Renderer) -> None:
    """Each at the beginning, and within a line where that is one other token sequence of the same length."""
    assert renderer.words([]) == ()
    plain = tuple(ids_of(files, "and"))
    inner = tuple(ids_of(files, " and"))
    found = renderer.words(["and", " and"])
    assert found[0] == plain
    assert (inner in found) == (len(inner) == len(plain) and inner[0] != plain[0])


@pytest.mark.parametrize(
    ("min_tokens", "shown", "stop"),
    [
        (0, "a", "bc"),
        (2, "a", "bc"),  # it begins within the first tokens and ends after them
        (3, "abcdea", "bc"),
        (7, "abcdea", "bc"),
        (8, "abcdeabcde", None),
        (99, "abcdeabcde", None),
    ],
)
@pytest.mark.parametrize("frames", [[1] * 10, [10], [2] * 5, [3, 3, 4], [4, 6], [7, 2, 1]])
def test_stop_strings_after_the_first_tokens_whatever_the_frames(
    files: ModelFiles, renderer: Renderer, min_tokens: int, shown: str, stop: str | None, frames: list[int]
) -> None:
    ids = [ids_of(files, letter)[0] for letter in "abcdeabcde"]
    transcript = PlainTranscript(renderer.open_detokenizer(), ["bc"], min_tokens=min_tokens)
    said, start = "", 0
    for size in frames:
        piece = transcript.push(tokens(ids[start : start + size]), None)
        said, start = said + (piece.text if piece is not None else ""), start + size
        if transcript.is_stopped:
            break
    last = transcript.finish()
    assert (said + (last.text if last is not None else ""), transcript.stopped_by) == (shown, stop)
