"""POST /v1/embeddings: the body and the answer."""

import dataclasses
from array import array
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import msgspec

from services.common.domain import EmbeddingAsk, Sampling
from services.common.errors import InvalidField, MeshError
from services.common.limits import Limits
from services.common.rpc.columns import floats_to_bytes
from services.gateway.call.generation import Generation, Prompt
from services.gateway.rest.openai.fields import MeshOptions, cache_salt_of, class_of_options, request_id_of
from services.gateway.rest.openai.json_body import decode_json
from services.gateway.rest.openai.prompts import Given, prompts_of
from services.gateway.rest.openai.ranges import DEADLINE_MS_MAX, PRIORITY_MAX, within
from services.gateway.rest.openai.refused import Refused, refuse_unsupported

DIMENSIONS_MAX = 65_536
_AS_LIST, _AS_BASE64 = "float", "base64"


class EmbeddingsBody(msgspec.Struct, kw_only=True):
    """The whole body."""

    model: str | None = None
    input: Given
    encoding_format: str | None = None
    dimensions: int | None = None
    add_special_tokens: bool | None = None
    priority: int | None = None
    pdmesh: MeshOptions | None = None
    user: str | None = None
    cache_salt: str | None = None
    request_id: str | None = None

    truncate_prompt_tokens: Any = None
    truncation_side: Any = None
    padding: Any = None
    mm_processor_kwargs: Any = None
    embed_dtype: Any = None
    endianness: Any = None
    use_activation: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class EmbeddingsCall:
    """Which vectors are asked for."""

    generation: Generation
    """The texts and the conditions; it generates nothing."""
    embedding: EmbeddingAsk
    as_base64: bool = False
    """Vectors as base64 of little-endian 32-bit floats."""


REFUSED: Refused = {
    "truncate_prompt_tokens": (None,),
    "truncation_side": (None, "left", "right"),
    "padding": (None, "do_not_pad"),
    "mm_processor_kwargs": (None, {}),
    "embed_dtype": (None, "float32"),
    "endianness": (None, "native", "little"),
    "use_activation": (None,),
}
_decoder = msgspec.json.Decoder(EmbeddingsBody)
_to_json = msgspec.json.encode


def parse_embeddings(body: bytes, limits: Limits) -> EmbeddingsCall:
    """The call of a body; raises `InvalidField`."""
    fields = decode_json(body, _decoder, limits)
    refuse_unsupported(fields, REFUSED)
    encoding = _AS_LIST if fields.encoding_format is None else fields.encoding_format
    if encoding not in (_AS_LIST, _AS_BASE64):
        raise InvalidField("encoding_format: must be float or base64", field="encoding_format")
    within("dimensions", fields.dimensions, 1, DIMENSIONS_MAX)
    within("priority", fields.priority, -PRIORITY_MAX, PRIORITY_MAX)
    mesh = fields.pdmesh or MeshOptions()
    within("pdmesh.deadline_ms", mesh.deadline_ms, 1, DEADLINE_MS_MAX)
    generation = Generation(
        model=fields.model or "",
        prompts=_prompts(fields, limits),
        sampling=Sampling(max_tokens=1),
        includes_receipt=mesh.receipt,
        service_class=class_of_options(mesh),
        deadline_ms=mesh.deadline_ms,
        priority=fields.priority or 0,
        cache_salt=cache_salt_of(fields.cache_salt),
        request_id=request_id_of(fields.request_id, limits),
        size_bytes=len(body),
    )
    return EmbeddingsCall(generation, EmbeddingAsk(fields.dimensions or 0), encoding == _AS_BASE64)


def _prompts(fields: EmbeddingsBody, limits: Limits) -> tuple[Prompt, ...]:
    """The texts, each under the name of its place."""
    most = limits.inputs_per_request_max
    made = prompts_of(fields.input, "input", most=most, begins=fields.add_special_tokens is not False)
    if isinstance(fields.input, str) or isinstance(fields.input[0], int):
        return made
    return tuple(dataclasses.replace(one, field_name=f"input[{i}]") for i, one in enumerate(made))


def no_vectors(model: str) -> MeshError:
    """The refusal of a model that generates."""
    return InvalidField(f"model: {model[:200]!r} generates text and gives no embeddings", field="model")


def embedding_json(number: int, vector: "array[float]", *, as_base64: bool) -> bytes:
    """One entry of the answer's `data`."""
    shown = b64encode(floats_to_bytes(vector)).decode() if as_base64 else vector.tolist()
    return _to_json({"object": "embedding", "index": number, "embedding": shown})


def embeddings_body(data: Sequence[bytes], model: str, prompt_tokens: int, extra: dict[str, Any]) -> bytes:
    """The whole answer; `data` are entries in order, and `extra` is what the mesh adds to OpenAI's fields."""
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    rest = _to_json({"model": model, "usage": usage, **extra})
    return b'{"object":"list","data":[%b],%b' % (b",".join(data), rest[1:])
