"""POST /v1/embeddings: why there are none."""

import msgspec

from services.common.errors import InvalidField, MeshError
from services.common.limits import Limits
from services.gateway.openai.generation import TextPrompt
from services.gateway.openai.json_body import decode_json


class EmbeddingsBody(msgspec.Struct, kw_only=True):
    """What the refusal needs of the body."""

    model: str


_decoder = msgspec.json.Decoder(EmbeddingsBody)

NO_PROMPT = TextPrompt("", field_name="input")


def parse_embeddings(body: bytes, limits: Limits) -> str:
    """The model that is asked; raises `InvalidField`."""
    return decode_json(body, _decoder, depth_max=limits.json_depth_max).model


def no_embeddings(model: str) -> MeshError:
    """The refusal, for a model that there is."""
    return InvalidField(
        f"model: {model[:200]!r} generates text; no pooling model is served, so there are no embeddings",
        field="model",
    )
