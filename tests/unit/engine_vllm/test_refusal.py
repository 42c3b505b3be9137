"""What vLLM refuses, in words for the caller: no library's path, and marked where the shape is at fault."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from services.common.domain import Sampling, Structured, StructuredKind
from services.worker.engine.vllm.refusal import refusal

PLAIN = Sampling(max_tokens=1)
SHAPED = replace(PLAIN, structured=Structured(StructuredKind.REGEX, "(("))


@pytest.mark.parametrize(
    ("sampling", "said", "expected"),
    [
        (
            SHAPED,
            "Failed to transform regex into a grammar: [11:48:15] /project/cpp/regex_converter.cc:83: "
            "Regex parsing error at position 3: The parenthesis is not closed.\n",
            "structured answer: Failed to transform regex into a grammar: "
            "Regex parsing error at position 3: The parenthesis is not closed.",
        ),
        (SHAPED, "Invalid grammar specification.", "structured answer: Invalid grammar specification."),
        (
            SHAPED,
            "Invalid structural tag specification.\nmore",
            "structured answer: Invalid structural tag specification.",
        ),
        (SHAPED, "temperature must be non-negative", "temperature must be non-negative"),
        (PLAIN, "Invalid grammar specification.", "Invalid grammar specification."),
        (PLAIN, "[01:02:03] C:\\x\\y.cc:9: bad token", "bad token"),
    ],
)
def test_words(sampling: Sampling, said: str, expected: str) -> None:
    job: Any = SimpleNamespace(sampling=sampling)
    assert refusal(said, job) == expected
