"""What answers look like. Objects may have more fields than are named here."""

from typing import Any

import msgspec


class ApiError(msgspec.Struct):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorAnswer(msgspec.Struct):
    """OpenAI's error body: `param` is the field at fault, `code` the reason."""

    error: ApiError


class AnthropicErrorAnswer(msgspec.Struct):
    """Anthropic's error body."""

    type: str
    error: ApiError


class ChatAnswer(msgspec.Struct):
    """A whole chat completion."""

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any]


class CompletionAnswer(msgspec.Struct):
    """A whole completion."""

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any]


class ResponseAnswer(msgspec.Struct):
    """A whole response."""

    id: str
    object: str
    created_at: int
    model: str
    status: str
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None


class MessageAnswer(msgspec.Struct):
    """A whole message."""

    id: str
    type: str
    role: str
    model: str
    content: list[dict[str, Any]]
    stop_reason: str | None
    stop_sequence: str | None
    usage: dict[str, int]


class EmbeddingsAnswer(msgspec.Struct):
    """All vectors of a call: numbers, or base64 of little-endian 32-bit floats."""

    object: str
    data: list[dict[str, Any]]
    model: str
    usage: dict[str, int]


class ModelEntry(msgspec.Struct):
    """One name that can be asked for."""

    id: str
    object: str
    created: int
    owned_by: str
    root: str
    """The model that answers: of an adapter the one that it belongs to, else the name itself."""
    max_model_len: int


class ModelList(msgspec.Struct):
    """All of them."""

    object: str
    data: list[ModelEntry]


class Health(msgspec.Struct):
    """The process runs."""

    status: str
    version: str


class Readiness(msgspec.Struct):
    """Requests can be answered."""

    status: str
    models: list[str]


class Version(msgspec.Struct):
    """Which pdmesh this is."""

    version: str


class Load(msgspec.Struct):
    """How much there is to do."""

    server_load: int
    """Requests for text or vectors that this gateway has not answered yet."""
