"""Structure, logprobs, words to avoid and adapters: vLLM alone, handed over, and resumed say the same."""

import asyncio
import json
import re
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tokenizers import Tokenizer

from services.common.domain import (
    FailureKind,
    HandoffOffered,
    JobFailed,
    JobFinished,
    JobKind,
    Role,
    Sampling,
    Structured,
    StructuredKind,
    TokenLogprobs,
)
from services.common.domain.tokens import tokens
from tests.e2e.adapter import build_adapter
from tests.e2e.recorder import Bench, ticket
from tests.e2e.references import prompt_of
from tests.e2e.test_vllm_engine import started
from tools.tiny_model import END

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

SIZE = {"type": "integer", "minimum": 0, "maximum": 999}
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "sizes": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 999},
            "minItems": 2,
            "maxItems": 4,
        },
        "kind": {"enum": ["prefill", "decode"]},
    },
    "required": ["name", "sizes", "kind"],
}
GRAMMAR = 'root ::= term "+" term ("-" term)*\nterm ::= [0-9] [0-9] [0-9] | "x"'
STRUCTURES = {
    "schema": Structured(StructuredKind.JSON_SCHEMA, json.dumps(SCHEMA)),
    "regex": Structured(StructuredKind.REGEX, "([a-f]{2,4}-){3}[0-9]+z"),
    "choice": Structured(StructuredKind.CHOICE, json.dumps(["prefill first", "prefill then", "decode"])),
    "grammar": Structured(StructuredKind.GRAMMAR, GRAMMAR),
}
GREEDY = Sampling(max_tokens=100, temperature=0.0)
SHAPED = {name: replace(GREEDY, structured=structured) for name, structured in STRUCTURES.items()}
PROMPT = prompt_of(300, seed=31)
SAID_FREELY = 24
NO_SPACE = 'structured-outputs-config={"backend": "xgrammar", "disable_any_whitespace": true}'
"""A model of noise would fill its answer with white space."""


@dataclass(frozen=True)
class Case:
    """One request and what vLLM alone makes of it."""

    sampling: Sampling
    lora: str = ""


CASES = {name: Case(sampling) for name, sampling in SHAPED.items()} | {
    "schema, penalised": Case(replace(SHAPED["schema"], frequency_penalty=0.9, presence_penalty=0.5)),
    "schema, with logprobs": Case(replace(SHAPED["schema"], logprobs=2)),
    "logprobs": Case(replace(GREEDY, max_tokens=SAID_FREELY, ignore_eos=True, logprobs=3)),
    "chosen logprobs": Case(replace(GREEDY, max_tokens=SAID_FREELY, ignore_eos=True, logprobs=0)),
    "allowed": Case(
        replace(GREEDY, max_tokens=SAID_FREELY, ignore_eos=True, allowed_token_ids=tuple(range(60, 90)))
    ),
    "adapter": Case(replace(GREEDY, max_tokens=SAID_FREELY, ignore_eos=True), "style"),
    "adapter, shaped": Case(SHAPED["regex"], "style"),
    "freely": Case(replace(GREEDY, max_tokens=SAID_FREELY, ignore_eos=True)),
}
each_case = pytest.mark.parametrize("name", CASES)
Answer = tuple[list[int], list[float] | None]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_adapter(tmp_path_factory.mktemp("adapter") / "style")


@pytest.fixture(scope="module")
def alone(model: Path, adapter: Path) -> dict[str, Answer]:
    asked = [[PROMPT, _keywords(case.sampling), bool(case.lora)] for case in CASES.values()]
    command = [sys.executable, "-W", "ignore", "-m", "tests.e2e.vllm_contract_reference"]
    done = subprocess.run(
        [*command, str(model), str(adapter)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return dict(zip(CASES, map(tuple, json.loads(done.stdout.splitlines()[-1])), strict=True))


def _keywords(sampling: Sampling) -> dict[str, Any]:
    """The same request for vLLM's SamplingParams, written without the code under test."""
    given = {
        "max_tokens": sampling.max_tokens,
        "temperature": 0.0,
        "ignore_eos": sampling.ignore_eos,
        "frequency_penalty": sampling.frequency_penalty or 0.0,
        "presence_penalty": sampling.presence_penalty or 0.0,
        "logprobs": sampling.logprobs,
        "allowed_token_ids": list(sampling.allowed_token_ids) or None,
        "bad_words": sampling.bad_words,
    }
    if sampling.structured is not None:
        keys = {"schema": "json", "regex": "regex", "choice": "choice", "grammar": "grammar"}
        name = next(n for n, s in STRUCTURES.items() if s == sampling.structured)
        value = sampling.structured.value
        given["structured_outputs"] = {keys[name]: json.loads(value) if name == "choice" else value}
    return given


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prefill(model: Path, adapter: Path, alone: object) -> AsyncIterator[Bench]:
    bench = await started(model, Role.PREFILL, 0, NO_SPACE, adapters={"style": str(adapter)})
    yield bench
    await bench.engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decode(model: Path, adapter: Path, prefill: Bench) -> AsyncIterator[Bench]:
    bench = await started(model, Role.DECODE, 1, NO_SPACE, adapters={"style": str(adapter)})
    yield bench
    await bench.engine.close()


async def handed_over(prefill: Bench, decode: Bench, case: Case) -> tuple[HandoffOffered, int]:
    """The offer, and the decode engine's stream, ended."""
    salt = repr(case)
    job = prefill.submit(JobKind.PREFILL, PROMPT, case.sampling, lora=case.lora, cache_salt=salt)
    offer = await prefill.offered(job)
    stream = decode.submit(
        JobKind.ADOPT,
        PROMPT,
        case.sampling,
        delivered=offer.token_ids,
        handoff=ticket(offer),
        lora=case.lora,
        cache_salt=salt,
    )
    end = await decode.ended(stream)
    assert isinstance(end, JobFinished), end
    return offer, stream


async def resumed(bench: Bench, case: Case, delivered: "list[int] | array[int]") -> int:
    stream = bench.submit(JobKind.LOCAL, PROMPT, case.sampling, delivered=tokens(delivered), lora=case.lora)
    end = await bench.ended(stream)
    assert isinstance(end, JobFinished), end
    return stream


@each_case
async def test_handed_over_as_alone(
    prefill: Bench, decode: Bench, alone: dict[str, Answer], name: str
) -> None:
    case, (ids, logprobs) = CASES[name], alone[name]
    before = decode.engine.stats()
    offer, stream = await handed_over(prefill, decode, case)
    assert [*offer.token_ids, *decode.sink.tokens[stream]] == ids
    grown = decode.engine.stats()["prompt_tokens_local_compute"] - before["prompt_tokens_local_compute"]
    assert grown <= 1, "the KV came from the prefill engine"
    if case.sampling.logprobs is None:
        assert offer.logprobs is None
        assert stream not in decode.sink.described
    else:
        assert offer.logprobs is not None
        assert len(offer.logprobs) == 1
        offer.logprobs.extend(decode.sink.described[stream])
        _check_logprobs(offer.logprobs, case, ids, logprobs)


def _check_logprobs(told: TokenLogprobs, case: Case, ids: list[int], expected: list[float] | None) -> None:
    assert told.alternatives == case.sampling.logprobs
    assert list(told.chosen) == pytest.approx(expected, abs=1e-3)
    assert told.part(0, len(ids)) == told
    if told.alternatives:
        # Greedy: the chosen token is the most likely one.
        assert list(told.top_ids[:: told.alternatives]) == ids
        assert list(told.top[:: told.alternatives]) == list(told.chosen)


@each_case
async def test_resumed_as_alone(decode: Bench, alone: dict[str, Answer], name: str) -> None:
    """Among each other, each from several points of its answer."""
    case, (ids, logprobs) = CASES[name], alone[name]
    points = sorted({0, 1, 3, len(ids) // 2, len(ids) - 1})
    streams = await asyncio.gather(*(resumed(decode, case, ids[:point]) for point in points))
    assert [decode.sink.tokens[s] for s in streams] == [ids[point:] for point in points]
    if logprobs is not None:
        for stream, point in zip(streams, points, strict=True):
            _check_logprobs(decode.sink.described[stream], case, ids[point:], logprobs[point:])


async def test_the_answers_have_their_shape(model: Path, alone: dict[str, Answer]) -> None:
    assert {alone[name][0][-1] for name in SHAPED} == {END}
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    texts = {name: tokenizer.decode(alone[name][0][:-1]) for name in SHAPED}
    assert json.loads(texts["schema"]).keys() == SCHEMA["properties"].keys()
    assert re.fullmatch(STRUCTURES["regex"].value, texts["regex"])
    assert texts["choice"] in json.loads(STRUCTURES["choice"].value)
    assert re.fullmatch(r"(\d{3}|x)\+(\d{3}|x)(-(\d{3}|x))*", texts["grammar"])


async def test_a_grammar_needs_the_replay(decode: Bench, alone: dict[str, Answer]) -> None:
    """Run as a longer prompt, a structured answer would begin anew."""
    ids, _ = alone["schema"]
    left = replace(SHAPED["schema"], max_tokens=100 - 7)
    stream = decode.submit(JobKind.LOCAL, PROMPT + ids[:7], left)
    assert isinstance(await decode.ended(stream), JobFinished)
    assert decode.sink.tokens[stream] != ids[7:]
    assert not SHAPED["schema"].continues_exactly


async def test_an_adapter_changes_the_answer_and_shares_no_cache(
    decode: Bench, alone: dict[str, Answer]
) -> None:
    assert alone["adapter"] != alone["freely"]
    for name in ("freely", "adapter", "freely", "adapter"):
        stream = await resumed(decode, CASES[name], [])
        assert decode.sink.tokens[stream] == alone[name][0]
    told = {change.lora for change in decode.sink.every("kv_changes")}  # type: ignore[attr-defined]
    assert told >= {"", "style"}


async def test_a_bad_word_of_several_tokens_is_not_completed_after_a_move(
    prefill: Bench, decode: Bench, alone: dict[str, Answer]
) -> None:
    """The word begins with a delivered token, so the engine must know that it was output."""
    ids, _ = alone["freely"]
    case = Case(replace(CASES["freely"].sampling, bad_words=((ids[6], ids[7]), (ids[0], ids[1]), (ids[3],))))
    undisturbed = decode.sink.tokens[await resumed(decode, case, [])]
    assert undisturbed[:1] == ids[:1]
    assert undisturbed[1] != ids[1]
    assert ids[3] not in undisturbed
    for point in (1, 7):
        assert decode.sink.tokens[await resumed(decode, case, undisturbed[:point])] == undisturbed[point:]
    offer, stream = await handed_over(prefill, decode, case)
    assert [*offer.token_ids, *decode.sink.tokens[stream]] == undisturbed


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Case(replace(GREEDY, structured=Structured(StructuredKind.JSON_SCHEMA, "{"))), "json"),
        (Case(replace(GREEDY, structured=Structured(StructuredKind.REGEX, "(("))), "regex"),
        (Case(replace(GREEDY, structured=Structured(StructuredKind.CHOICE, "[]"))), "choices"),
        (Case(replace(GREEDY, structured=Structured(StructuredKind.GRAMMAR, "nonsense"))), "grammar"),
        (Case(replace(GREEDY, logprobs=21)), "logprobs"),
        (Case(replace(GREEDY, allowed_token_ids=(100_000,))), "allowed_token_ids"),
        (Case(replace(GREEDY, bad_words=((1, 100_000),))), "100000"),
        (Case(GREEDY, "unknown"), "unknown"),
    ],
)
async def test_what_cannot_be_kept_is_refused(decode: Bench, asked: Case, words: str) -> None:
    stream = decode.submit(JobKind.LOCAL, PROMPT, asked.sampling, lora=asked.lora)
    end = await decode.ended(stream)
    assert isinstance(end, JobFailed), end
    assert end.kind is FailureKind.INVALID
    print(end.message)
    assert words in end.message.lower()
    await decode.engine.check()
