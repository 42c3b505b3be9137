"""How the answer is chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pdmesh.inference.v1 import sampling_pb2

_OPTIONAL = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
    "logprobs",
)
_PLAIN = ("max_tokens", "min_tokens", "n", "include_stop", "ignore_eos")
_LISTS = ("stop", "stop_token_ids", "bad_words", "allowed_token_ids")


@dataclass(frozen=True, slots=True)
class StructuredOutput:
    """The answer's form; exactly one of these is set. `json_schema` is a JSON Schema as JSON."""

    json_object: bool = False
    json_schema: str = ""
    regex: str = ""
    grammar: str = ""
    choices: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters; `None` is the model's own default.

    `max_tokens` counts tokens per choice, 0 is all that fits (16 for `complete`). `logprobs` asks for the
    chosen tokens' log probabilities and those of so many likely ones beside each.
    """

    max_tokens: int = 0
    min_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: Sequence[str] = ()
    stop_token_ids: Sequence[int] = ()
    include_stop: bool = False
    ignore_eos: bool = False
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    n: int = 1
    logprobs: int | None = None
    bad_words: Sequence[str] = ()
    allowed_token_ids: Sequence[int] = ()
    structured_output: StructuredOutput | None = None

    def to_wire(self) -> sampling_pb2.Sampling:
        """The message; `None` stays absent."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in (*_OPTIONAL, *_PLAIN, *_LISTS)}
        wire = sampling_pb2.Sampling(logit_bias=dict(self.logit_bias), **fields)
        if self.structured_output is not None:
            wire.structured_output.CopyFrom(_form_to_wire(self.structured_output))
        return wire


def _form_to_wire(form: StructuredOutput) -> sampling_pb2.StructuredOutput:
    if form.json_object:
        return sampling_pb2.StructuredOutput(json_object=True)
    if form.choices:
        choices = sampling_pb2.Choices(values=list(form.choices))
        return sampling_pb2.StructuredOutput(choices=choices)
    texts: dict[str, Any] = {"json_schema": form.json_schema, "regex": form.regex, "grammar": form.grammar}
    return sampling_pb2.StructuredOutput(**{name: text for name, text in texts.items() if text})
