"""The OpenAPI 3.1 document."""

from collections.abc import Iterator
from typing import Any

import msgspec

from services.common.errors import MeshError, Startup
from services.common.version import VERSION
from services.gateway.rest.openapi.answers import AnthropicErrorAnswer, ErrorAnswer
from services.gateway.rest.openapi.operations import JSON, OPERATIONS, Operation

_REF = "#/components/schemas/{name}"
_CALL_HEADERS = {
    "x-request-id": "Names the request in the answer, the log and the receipt",
    "x-pdmesh-session": "Names the conversation",
    "x-pdmesh-deadline-ms": "The answer must be whole by then",
    "x-pdmesh-path": "`disaggregated`: an error rather than the local path; `any`",
    "x-pdmesh-receipt": "`1`: the answer ends with the receipt",
    "idempotency-key": "A retry with the same key and body gets the same answer",
    "last-event-id": "With a key: go on after this event of the stream",
}
_ANSWER_HEADERS = {
    "x-request-id": "The request's name",
    "openai-processing-ms": "Milliseconds until the answer began",
    "x-pdmesh-path": "How the first choice ran; of a stream, how it is to run, which its receipt corrects",
    "x-pdmesh-path-reason": "Why so",
    "x-pdmesh-prefill-worker": "Who built the prompt's KV cache",
    "x-pdmesh-decode-worker": "Who generates",
    "x-ratelimit-remaining-tokens": "What is left of the tenant's quota, with others of this prefix",
    "idempotent-replayed": "`true` for an answer that was given before",
}
_QUERIES = ("day", "from", "to", "tenant", "format")
_PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "/v1/models/{model}": [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}],
    "/v1/responses/{id}": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
    "/admin/usage": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in _QUERIES],
}


def document() -> dict[str, Any]:
    """Paths from `OPERATIONS`, schemas from the structs that decode bodies, errors from the tree."""
    named = {kind for one in OPERATIONS for kind in (one.body, one.answer) if kind not in (None, dict)}
    types = [ErrorAnswer, AnthropicErrorAnswer, *sorted(named, key=lambda kind: kind.__name__)]
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    for schema in schemas.values():
        _mark_refused(schema)
    paths: dict[str, Any] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {"title": "pdmesh", "version": VERSION},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
        "security": [{}, {"bearer": []}, {"key": []}],
    }


def _mark_refused(schema: dict[str, Any]) -> None:
    """Fields of any type are those that bodies know only to refuse them."""
    for name, field in schema["properties"].items():
        if field == {"default": None}:
            schema["properties"][name] = {"type": "null", "description": "Not supported", "default": None}


def _operation(one: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {"summary": one.summary, "responses": _responses(one)}
    parameters = [*_PARAMETERS.get(one.path, [])]
    if one.is_generation or one.is_call:
        parameters += [
            {"name": name, "in": "header", "description": said, "schema": {"type": "string"}}
            for name, said in _CALL_HEADERS.items()
        ]
    if parameters:
        made["parameters"] = parameters
    if one.body is not None:
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": _schema(one.body)}}}
    if one.is_open:
        made["security"] = [{}]
    return made


def _responses(one: Operation) -> dict[str, Any]:
    answers = {"200": _answer(one)}
    error = AnthropicErrorAnswer if one.is_anthropic else ErrorAnswer
    for status, reasons in _reasons().items():
        said = ", ".join(reasons)
        answers[status] = {"description": said, "content": {JSON: {"schema": _schema(error)}}}
    return answers


def _answer(one: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": _schema(one.answer)}} if one.answer else {}
    if one.is_generation:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    headers = _ANSWER_HEADERS if one.is_generation else {"x-request-id": _ANSWER_HEADERS["x-request-id"]}
    described = {name: {"description": said, "schema": {"type": "string"}} for name, said in headers.items()}
    made: dict[str, Any] = {"description": one.summary, "headers": described}
    return made | {"content": content} if content else made


def _schema(kind: type) -> dict[str, Any]:
    return {"type": "object"} if kind is dict else {"$ref": _REF.format(name=kind.__name__)}


def _reasons() -> dict[str, list[str]]:
    """The reasons of all errors that a caller may see, by HTTP status."""
    found: dict[str, set[str]] = {}
    for kind in _kinds(MeshError):
        if not issubclass(kind, Startup) and "reason" in vars(kind):
            found.setdefault(str(kind.http_status), set()).add(kind.reason)
    return {status: sorted(reasons) for status, reasons in sorted(found.items())}


def _kinds(kind: type[MeshError]) -> Iterator[type[MeshError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)
