"""The fields that chat and plain completions share: types here, ranges in `check` functions."""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.common.domain import Sampling
from services.common.errors import InvalidField

STOPS_MAX = 16
STOP_CHARS_MAX = 1_024
STOP_TOKENS_MAX = 64
LOGIT_BIAS_MAX = 1_024
TOKENS_MAX = 2**31 - 1


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = None


class MeshOptions(msgspec.Struct):
    """The extension field `pdmesh`."""

    receipt: bool = False


class GenerationFields(msgspec.Struct, kw_only=True):
    """OpenAI's sampling fields, and vLLM's extensions to them."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[int, float] | None = None
    user: str | None = None
    pdmesh: MeshOptions | None = None

    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool | None = None

    n: Any = None
    best_of: Any = None
    logprobs: Any = None
    prompt_logprobs: Any = None
    echo: Any = None
    use_beam_search: Any = None
    skip_special_tokens: Any = None
    bad_words: Any = None
    allowed_token_ids: Any = None
    logits_processors: Any = None
    truncate_prompt_tokens: Any = None
    return_token_ids: Any = None
    structured_outputs: Any = None
    guided_json: Any = None
    guided_regex: Any = None
    guided_choice: Any = None
    guided_grammar: Any = None
    response_format: Any = None


UNSUPPORTED: dict[str, tuple[object, ...]] = {
    "n": (None, 1),
    "best_of": (None, 1),
    "logprobs": (None, False),
    "prompt_logprobs": (None,),
    "echo": (None, False),
    "use_beam_search": (None, False),
    "skip_special_tokens": (None, True),
    "bad_words": (None, []),
    "allowed_token_ids": (None,),
    "logits_processors": (None, []),
    "truncate_prompt_tokens": (None,),
    "return_token_ids": (None, False),
    "structured_outputs": (None,),
    "guided_json": (None,),
    "guided_regex": (None,),
    "guided_choice": (None,),
    "guided_grammar": (None,),
    "response_format": (None, {"type": "text"}),
}
"""Fields that change the answer and are not served, each with the values that mean nothing."""


def refuse_unsupported(body: msgspec.Struct, table: Mapping[str, tuple[object, ...]]) -> None:
    """Raise `InvalidField` for a field that would silently not be honoured."""
    for name, neutral in table.items():
        value = getattr(body, name)
        if value is not None and (value not in neutral or isinstance(value, bool) != _has_bool(neutral)):
            raise InvalidField(f"{name}: this value is not supported by this server", field=name)


def _has_bool(values: tuple[object, ...]) -> bool:
    """`True == 1` in Python, but `n: true` is not `n: 1`."""
    return any(isinstance(value, bool) for value in values)


def sampling_of(body: GenerationFields, max_tokens: int | None, max_tokens_field: str) -> Sampling:
    """The sampling parameters; raises `InvalidField` for what is out of range."""
    _check_ranges(body)
    if max_tokens is not None:
        _within(max_tokens_field, max_tokens, 1, TOKENS_MAX)
    min_tokens = body.min_tokens or 0
    if max_tokens is not None and min_tokens > max_tokens:
        raise InvalidField(f"min_tokens: must not be over {max_tokens_field}", field="min_tokens")
    return Sampling(
        max_tokens=max_tokens or 0,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=None if body.top_k in (0, -1) else body.top_k,
        min_p=body.min_p,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        repetition_penalty=body.repetition_penalty,
        seed=body.seed,
        stop_token_ids=tuple(body.stop_token_ids or ()),
        ignore_eos=bool(body.ignore_eos),
        min_tokens=min_tokens,
        logit_bias=body.logit_bias or {},
    )


def stops_of(body: GenerationFields) -> tuple[str, ...]:
    """The stop strings; raises `InvalidField` for empty, long or too many ones."""
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if len(stops) > STOPS_MAX:
        raise InvalidField(f"stop: at most {STOPS_MAX} strings", field="stop")
    for index, stop in enumerate(stops):
        if not 0 < len(stop) <= STOP_CHARS_MAX:
            name = "stop" if isinstance(body.stop, str) else f"stop[{index}]"
            raise InvalidField(f"{name}: must have 1 to {STOP_CHARS_MAX} characters", field=name)
    return tuple(stops)


def stream_of(body: GenerationFields) -> tuple[bool, bool]:
    """Whether to stream, and whether to end the stream with usage."""
    if body.stream_options is not None and not body.stream:
        raise InvalidField("stream_options: only allowed when stream is true", field="stream_options")
    wants_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
    return bool(body.stream), wants_usage


def _check_ranges(body: GenerationFields) -> None:
    _within("temperature", body.temperature, 0.0, 2.0)
    _within("top_p", body.top_p, 0.0, 1.0)
    if body.top_p == 0.0:
        raise InvalidField("top_p: must be above 0", field="top_p")
    _within("top_k", body.top_k, -1, TOKENS_MAX)
    _within("min_p", body.min_p, 0.0, 1.0)
    _within("presence_penalty", body.presence_penalty, -2.0, 2.0)
    _within("frequency_penalty", body.frequency_penalty, -2.0, 2.0)
    _within("repetition_penalty", body.repetition_penalty, 1e-3, 1e3)
    _within("seed", body.seed, -(2**63), 2**63 - 1)
    _within("min_tokens", body.min_tokens, 0, TOKENS_MAX)
    if len(body.stop_token_ids or ()) > STOP_TOKENS_MAX:
        raise InvalidField(f"stop_token_ids: at most {STOP_TOKENS_MAX}", field="stop_token_ids")
    for token_id in body.stop_token_ids or ():
        _within("stop_token_ids", token_id, 0, TOKENS_MAX)
    _check_logit_bias(body.logit_bias or {})


def _check_logit_bias(logit_bias: Mapping[int, float]) -> None:
    if len(logit_bias) > LOGIT_BIAS_MAX:
        raise InvalidField(f"logit_bias: at most {LOGIT_BIAS_MAX} tokens", field="logit_bias")
    for token_id, bias in logit_bias.items():
        _within("logit_bias", token_id, 0, TOKENS_MAX)
        _within("logit_bias", bias, -100.0, 100.0)


def _within(name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise InvalidField(f"{name}: must be between {least} and {most}, not {value}", field=name)
