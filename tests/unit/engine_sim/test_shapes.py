"""What a request demands of its tokens, the simulated engine keeps or refuses; nothing passes silently."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from services.common.domain import (
    FailureKind,
    FinishReason,
    JobKind,
    Role,
    Sampling,
    Structured,
    StructuredKind,
)
from services.worker.engine.sim import Vocabulary, describe, expected_tokens
from services.worker.engine.sim.structure import Unsupported, example
from tests.unit.engine_sim.recording import adoption_of, job, running
from tools.tiny_model import END, build

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "size": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2},
        "more": {"anyOf": [{"properties": {"ok": {"type": "boolean"}}}, {"type": "null"}]},
    },
}
WORDS = Structured(StructuredKind.CHOICE, '["yes", "no", "perhaps"]')


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("model") / "tiny", with_weights=False)


def test_an_example_has_the_shape() -> None:
    text = example(Structured(StructuredKind.JSON_SCHEMA, json.dumps(SCHEMA)), 0)
    assert json.loads(text) == {"name": "text", "size": 0, "tags": ["a", "a"], "more": {"ok": True}}
    assert example(WORDS, 4) == "no"
    assert isinstance(json.loads(example(Structured(StructuredKind.JSON_OBJECT), 0)), dict)


@pytest.mark.parametrize(
    "structured",
    [
        Structured(StructuredKind.REGEX, "a+"),
        Structured(StructuredKind.GRAMMAR, 'root ::= "a"'),
        Structured(StructuredKind.CHOICE, "[]"),
        Structured(StructuredKind.CHOICE, "yes"),
        Structured(StructuredKind.JSON_SCHEMA, "{"),
        Structured(StructuredKind.JSON_SCHEMA, '{"$ref": "#/elsewhere"}'),
        Structured(StructuredKind.JSON_SCHEMA, '{"type": "string", "pattern": "a+"}'),
        Structured(StructuredKind.JSON_SCHEMA, '{"allOf": [{}, {}]}'),
    ],
)
def test_a_shape_without_an_example_is_refused(structured: Structured) -> None:
    with pytest.raises(Unsupported):
        example(structured, 0)


@pytest.mark.parametrize("delivered", [0, 1, 2])
async def test_a_structured_answer_is_said_to_its_end_from_wherever(model: Path, delivered: int) -> None:
    rules = Sampling(max_tokens=50, structured=WORDS)
    async with running(Role.DECODE, model=str(model)) as (engine, sink):
        engine.submit(job(1, sampling=rules))
        await sink.ended(1)
        whole = sink.tokens[1]
        assert sink.finished[1].reason is FinishReason.STOP
        assert whole[-1] == END
        said = Tokenizer.from_file(str(model / "tokenizer.json")).decode(list(whole[:-1]))
        assert said in json.loads(WORDS.value)
        engine.submit(job(2, prompt=job(1).prompt, sampling=rules, delivered=whole[:delivered]))
        await sink.ended(2)
        assert whole[:delivered] + sink.tokens[2] == whole


async def test_a_structured_answer_may_be_cut_at_its_length(model: Path) -> None:
    async with running(Role.DECODE, model=str(model)) as (engine, sink):
        engine.submit(job(1, sampling=Sampling(max_tokens=2, structured=WORDS)))
        await sink.ended(1)
        assert (len(sink.tokens[1]), sink.finished[1].reason) == (2, FinishReason.LENGTH)


@pytest.mark.parametrize(
    ("structured", "words"),
    [(WORDS, "tokenizer.json"), (Structured(StructuredKind.REGEX, "a+"), "needs --engine vllm")],
)
async def test_what_the_engine_cannot_say_is_refused(structured: Structured, words: str) -> None:
    async with running(Role.DECODE) as (engine, sink):
        engine.submit(job(1, sampling=Sampling(max_tokens=5, structured=structured)))
        await sink.ended(1)
        assert sink.failed[1].kind is FailureKind.INVALID
        assert words in sink.failed[1].message


async def test_logprobs_are_those_of_the_tokens_through_a_handoff() -> None:
    rules = Sampling(max_tokens=9, logprobs=3)
    async with running(Role.PREFILL) as (prefill, offers), running(Role.DECODE) as (decode, sink):
        first = job(1, JobKind.PREFILL, sampling=rules)
        prefill.submit(first)
        await offers.until(lambda: 1 in offers.offered)
        decode.submit(adoption_of(offers.offered[1], first, 1))
        decode.submit(job(2, max_tokens=9))
        await sink.ended(1, 2)
        told = offers.offered[1].logprobs
        assert told is not None
        told.extend(sink.described[1])
        ids = expected_tokens(first.prompt, 9)
        assert told == describe(ids, 3, Vocabulary())
        assert list(told.top_ids[::3]) == list(ids)
        assert 2 not in sink.described


async def test_allowed_tokens_and_bad_words_hold() -> None:
    async with running(Role.DECODE) as (engine, sink):
        engine.submit(
            job(1, sampling=Sampling(max_tokens=40, allowed_token_ids=(7, 8, 9), bad_words=((5, 8),)))
        )
        engine.submit(
            job(2, sampling=Sampling(max_tokens=4, bad_words=((expected_tokens(job(2).prompt, 1)[0],),)))
        )
        await sink.ended(1, 2)
        assert set(sink.tokens[1]) == {7, 9}
        assert sink.tokens[2] != expected_tokens(job(2).prompt, 4)


async def test_an_adapter_answers_otherwise_and_shares_no_kv() -> None:
    async with running(Role.DECODE, adapters=("style",)) as (engine, sink):
        engine.submit(job(1, prompt_tokens=40))
        await sink.ended(1)
        engine.submit(job(2, prompt=job(1, prompt_tokens=40).prompt, lora="style"))
        engine.submit(job(3, prompt=job(1, prompt_tokens=40).prompt, lora="unknown"))
        await sink.ended(2, 3)
        assert sink.tokens[2] == expected_tokens(job(1, prompt_tokens=40).prompt, 20, lora="style")
        assert sink.tokens[2] != sink.tokens[1]
        assert sink.finished[2].cached_tokens == 0
        assert {change.lora for change in sink.kv_changes} == {"", "style"}
        assert "unknown" in sink.failed[3].message


async def test_an_adapters_kv_is_handed_over_under_its_name() -> None:
    async with (
        running(Role.PREFILL, adapters=("style",)) as (prefill, offers),
        running(Role.DECODE, adapters=("style",)) as (decode, sink),
    ):
        first = job(1, JobKind.PREFILL, lora="style", prompt_tokens=33)
        prefill.submit(first)
        await offers.until(lambda: 1 in offers.offered)
        decode.submit(adoption_of(offers.offered[1], first, 1))
        await sink.ended(1)
        got = offers.offered[1].token_ids + sink.tokens[1]
        assert got == expected_tokens(first.prompt, 20, lora="style")
