"""The fields that chat and plain completions share, and what they mean; ranges are in `ranges`."""

from collections.abc import Mapping
from typing import TypedDict

import msgspec

from services.common.domain import Sampling, ServiceClass
from services.common.errors import InvalidField
from services.common.limits import Limits
from services.gateway.call.generation import ToolUse
from services.gateway.call.renamed import name_of
from services.gateway.call.request_id import kept_request_id
from services.gateway.rest.openai.ranges import (
    CACHE_SALT_CHARS_MAX,
    DEADLINE_MS_MAX,
    SESSION_KEY_CHARS_MAX,
    STOP_CHARS_MAX,
    STOPS_MAX,
    TOKENS_MAX,
    check_ranges,
    within,
)
from services.gateway.rest.openai.structured import shape_field_of, structured_of
from services.gateway.rest.openai.unsupported import RefusedFields
from services.gateway.retrieval.ask import RetrievalAsk, RetrievalFields, retrieval_of


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class MeshOptions(msgspec.Struct):
    """The extension field `pdmesh`."""

    receipt: bool = False
    deadline_ms: int | None = None
    service_class: str | None = None


class GenerationFields(RefusedFields, kw_only=True):
    """OpenAI's fields, and vLLM's extensions to them."""

    model: str | None = None
    n: int | None = None
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
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    pdmesh: MeshOptions | None = None

    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool | None = None
    skip_special_tokens: bool | None = None
    bad_words: list[str] | None = None
    allowed_token_ids: list[int] | None = None
    thinking_token_budget: int | None = None
    return_token_ids: bool | None = None
    priority: int | None = None
    retrieval: RetrievalFields | None = None

    best_of: int | None = None
    cache_salt: str | None = None
    request_id: str | None = None
    session_id: str | None = None
    return_tokens_as_token_ids: bool | None = None
    spaces_between_special_tokens: bool | None = None


_NO_STREAM_OPTIONS, _NO_MESH_OPTIONS = StreamOptions(), MeshOptions()

_CLASSES = {
    "interactive": ServiceClass.INTERACTIVE,
    "standard": ServiceClass.STANDARD,
    "batch": ServiceClass.BATCH,
}
_TIERS = {
    "priority": ServiceClass.INTERACTIVE,
    "default": ServiceClass.STANDARD,
    "flex": ServiceClass.BATCH,
    "auto": None,
    "scale": None,
}
"""OpenAI's `service_tier`; `None` is the caller's own class."""


class Common(TypedDict):
    """What every body says of its generation beside prompts and tools."""

    model: str
    n: int
    stops: tuple[str, ...]
    shows_stop: bool
    shape_field: str
    bad_words: tuple[str, ...]
    is_stream: bool
    includes_usage: bool
    includes_running_usage: bool
    returns_token_ids: bool
    names_token_ids: bool
    shows_special: bool
    includes_receipt: bool
    cache_salt: str
    request_id: str
    session_key: str
    service_class: ServiceClass | None
    deadline_ms: int | None
    priority: int
    retrieval: RetrievalAsk | None
    size_bytes: int


def common_of(
    fields: GenerationFields, body: bytes, limits: Limits, names: Mapping[str, str] | None = None
) -> Common:
    """What the shared fields say; raises `InvalidField` for what makes no sense.

    `names` are an API's own names of fields.
    """
    mesh = fields.pdmesh or _NO_MESH_OPTIONS
    within("pdmesh.deadline_ms", mesh.deadline_ms, 1, DEADLINE_MS_MAX)
    stream = stream_of(fields)
    return Common(
        model=fields.model or "",
        n=n_of(fields, limits),
        stops=stops_of(fields),
        shows_stop=bool(fields.include_stop_str_in_output),
        shape_field=name_of(shape_field_of(fields), names or {}),
        bad_words=tuple(fields.bad_words or ()),
        is_stream=bool(fields.stream),
        includes_usage=bool(stream.include_usage),
        includes_running_usage=bool(stream.include_usage and stream.continuous_usage_stats),
        returns_token_ids=bool(fields.return_token_ids),
        names_token_ids=bool(fields.return_tokens_as_token_ids),
        shows_special=shows_special_of(fields),
        includes_receipt=mesh.receipt,
        cache_salt=cache_salt_of(fields.cache_salt),
        request_id=request_id_of(fields.request_id, limits),
        session_key=session_key_of(fields),
        service_class=class_of(fields, mesh),
        deadline_ms=mesh.deadline_ms,
        priority=fields.priority or 0,
        retrieval=retrieval_of(fields.retrieval),
        size_bytes=len(body),
    )


def sampling_of(
    body: GenerationFields,
    max_tokens: int | None,
    max_tokens_field: str,
    logprobs: int | None,
    *,
    tools: ToolUse | None = None,
) -> Sampling:
    """The sampling parameters; raises `InvalidField` for what is out of range."""
    check_ranges(body)
    if max_tokens is not None:
        within(max_tokens_field, max_tokens, 1, TOKENS_MAX)
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
        allowed_token_ids=tuple(body.allowed_token_ids or ()),
        structured=structured_of(body, must_call=tools is not None and tools.is_demanded),
        logprobs=logprobs,
        thinking_tokens_max=body.thinking_token_budget,
    )


def n_of(body: GenerationFields, limits: Limits) -> int:
    """How many choices; `best_of` may say the same again, as more would mean to throw some away."""
    n = 1 if body.n is None else body.n
    within("n", n, 1, limits.choices_per_request_max)
    if body.best_of not in (None, n):
        raise InvalidField("best_of: only the value of n is supported by this server", field="best_of")
    return n


def stops_of(body: GenerationFields) -> tuple[str, ...]:
    """The stop strings; raises `InvalidField` for empty, long or too many ones."""
    if not body.stop and body.stop != "":
        return ()
    stops = [body.stop] if isinstance(body.stop, str) else body.stop
    if len(stops) > STOPS_MAX:
        raise InvalidField(f"stop: at most {STOPS_MAX} strings", field="stop")
    for index, stop in enumerate(stops):
        if not 0 < len(stop) <= STOP_CHARS_MAX:
            name = "stop" if isinstance(body.stop, str) else f"stop[{index}]"
            raise InvalidField(f"{name}: must have 1 to {STOP_CHARS_MAX} characters", field=name)
    return tuple(stops)


def stream_of(body: GenerationFields) -> StreamOptions:
    """How to stream; raises `InvalidField` for options of a stream that is none."""
    if body.stream_options is not None and not body.stream:
        raise InvalidField("stream_options: only allowed when stream is true", field="stream_options")
    return body.stream_options or _NO_STREAM_OPTIONS


def session_key_of(body: GenerationFields) -> str:
    """What names the conversation; raises `InvalidField` for a name that is too long."""
    if not (body.prompt_cache_key or body.session_id or body.user):
        return ""
    for name in ("prompt_cache_key", "session_id", "user"):
        key: str | None = getattr(body, name)
        if key and len(key) > SESSION_KEY_CHARS_MAX:
            raise InvalidField(f"{name}: at most {SESSION_KEY_CHARS_MAX} characters", field=name)
    return body.prompt_cache_key or body.session_id or body.user or ""


def cache_salt_of(salt: str | None) -> str:
    """The caller's own salt of the prefix cache; empty for none. Raises `InvalidField`."""
    if salt is None:
        return ""
    if not 0 < len(salt) <= CACHE_SALT_CHARS_MAX:
        raise InvalidField(
            f"cache_salt: must have 1 to {CACHE_SALT_CHARS_MAX} characters", field="cache_salt"
        )
    return salt


def request_id_of(name: str | None, limits: Limits) -> str:
    """The name that a body gives its request, kept or replaced as that of the header is; empty for none."""
    return kept_request_id(name, limits.request_id_chars_max) if name else ""


def shows_special_of(body: GenerationFields) -> bool:
    """Whether special tokens are shown; raises `InvalidField` where they are to be shown without spaces."""
    is_shown = body.skip_special_tokens is False
    if is_shown and body.spaces_between_special_tokens is False:
        name = "spaces_between_special_tokens"
        raise InvalidField(f"{name}: false is not supported by this server", field=name)
    return is_shown


def class_of(body: GenerationFields, mesh: MeshOptions) -> ServiceClass | None:
    """The class asked for, by our own word or else by OpenAI's tier."""
    if mesh.service_class is not None:
        return class_of_options(mesh)
    if body.service_tier is None:
        return None
    if body.service_tier not in _TIERS:
        raise InvalidField(f"service_tier: must be one of {', '.join(_TIERS)}", field="service_tier")
    return _TIERS[body.service_tier]


def class_of_options(mesh: MeshOptions) -> ServiceClass | None:
    """The class asked for by our own word; raises `InvalidField`."""
    if mesh.service_class is None:
        return None
    if mesh.service_class not in _CLASSES:
        raise InvalidField(
            f"pdmesh.service_class: must be one of {', '.join(_CLASSES)}", field="pdmesh.service_class"
        )
    return _CLASSES[mesh.service_class]
