"""What shape an answer is to have: OpenAI's `response_format`, vLLM's `structured_outputs`, its old names."""

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import msgspec

from services.common.domain import Structured, StructuredKind
from services.common.errors import InvalidField
from services.common.limits import DEFAULTS
from services.gateway.rest.openai.json_elements import check_elements
from services.gateway.rest.openai.refused import Refused, refuse_unsupported

VALUE_CHARS_MAX = 262_144
CHOICES_MAX = 1_024


class JsonSchema(msgspec.Struct):
    """`response_format.json_schema`."""

    name: str
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    """Kept either way."""
    description: str | None = None


class ResponseFormat(msgspec.Struct):
    """`response_format`."""

    type: str
    json_schema: JsonSchema | None = None


class StructuredOutputs(msgspec.Struct):
    """vLLM's `structured_outputs`: exactly one of the first six."""

    json: str | dict[str, Any] | bool | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: str | None = None

    whitespace_pattern: Any = None
    disable_any_whitespace: Any = None
    disable_additional_properties: Any = None


REFUSED_OPTIONS: Refused = {
    "whitespace_pattern": (None,),
    "disable_any_whitespace": (None, False),
    "disable_additional_properties": (None, False),
}
_OUTPUTS = tuple(name for name in StructuredOutputs.__struct_fields__ if name not in REFUSED_OPTIONS)


class FormatFields(msgspec.Struct, kw_only=True):
    """The fields of a body that shape its answer."""

    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: str | dict[str, Any] | bool | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None


_SHAPES = FormatFields.__struct_fields__
_shapes = attrgetter(*_SHAPES)
_KINDS = {
    "json": StructuredKind.JSON_SCHEMA,
    "regex": StructuredKind.REGEX,
    "choice": StructuredKind.CHOICE,
    "grammar": StructuredKind.GRAMMAR,
    "structural_tag": StructuredKind.STRUCTURAL_TAG,
}


def structured_of(body: FormatFields, *, must_call: bool = False) -> Structured | None:
    """The one constraint of a body; raises `InvalidField` for several, or one that cannot be.

    An answer that must call a tool (`must_call`) says nothing that a `response_format` could shape, so the
    tool wins. A constraint by vLLM's own fields is on every token, which contradicts the call.
    """
    if not _has_shape(body):
        return None
    formats, extensions = [*_from_response_format(body.response_format)], [*_from_extensions(body)]
    found = formats + extensions
    if len(found) > 1:
        names = " and ".join(name for name, _ in found)
        raise InvalidField(f"{found[1][0]}: only one of {names} can be kept", field=found[1][0])
    if must_call and extensions:
        name = extensions[0][0]
        raise InvalidField(f"{name}: contradicts a tool_choice that demands a tool call", field=name)
    return found[0][1] if found and not must_call else None


def shape_field_of(body: FormatFields) -> str:
    """The name of the field that says the shape; empty where none does. Raises `InvalidField` as above."""
    if not _has_shape(body):
        return ""
    found = [*_from_response_format(body.response_format), *_from_extensions(body)]
    return found[0][0] if found else ""


def _has_shape(body: FormatFields) -> bool:
    return _shapes(body).count(None) < len(_SHAPES)


def _from_response_format(asked: ResponseFormat | None) -> Iterator[tuple[str, Structured]]:
    if asked is None or asked.type == "text":
        return
    if asked.type == "json_object":
        yield "response_format", Structured(StructuredKind.JSON_OBJECT)
        return
    if asked.type != "json_schema":
        raise InvalidField(
            "response_format.type: must be text, json_object or json_schema", field="response_format.type"
        )
    if asked.json_schema is None or asked.json_schema.schema is None:
        name = "response_format.json_schema" + (".schema" if asked.json_schema else "")
        raise InvalidField(f"{name}: is required", field=name)
    name = "response_format.json_schema.schema"
    yield "response_format", _structured(name, "json", asked.json_schema.schema)


def _from_extensions(body: FormatFields) -> Iterator[tuple[str, Structured]]:
    outputs = body.structured_outputs
    if outputs is not None:
        refuse_unsupported(outputs, REFUSED_OPTIONS, "structured_outputs.")
        given = [(name, getattr(outputs, name)) for name in _OUTPUTS]
        given = [(name, value) for name, value in given if value is not None and value is not False]
        if len(given) != 1:
            raise InvalidField(
                f"structured_outputs: needs exactly one of {', '.join(_OUTPUTS)}",
                field="structured_outputs",
            )
        name, value = given[0]
        yield "structured_outputs", _structured(f"structured_outputs.{name}", name, value)
    for name in ("json", "regex", "choice", "grammar"):
        value = getattr(body, f"guided_{name}")
        if value is not None:
            yield f"guided_{name}", _structured(f"guided_{name}", name, value)


def _structured(at: str, name: str, value: Any) -> Structured:
    if name == "json_object" or (name == "json" and value is True):
        return Structured(StructuredKind.JSON_OBJECT)
    if name == "choice":
        _check_choices(at, value)
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if not text or len(text) > VALUE_CHARS_MAX:
        raise InvalidField(f"{at}: must have 1 to {VALUE_CHARS_MAX} characters", field=at)
    if name in ("json", "structural_tag"):
        _check_json(at, text)
    return Structured(_KINDS[name], text)


def _check_choices(at: str, choices: list[str]) -> None:
    if not 0 < len(choices) <= CHOICES_MAX or not all(choices):
        raise InvalidField(f"{at}: must be 1 to {CHOICES_MAX} texts, none empty", field=at)


def _check_json(at: str, text: str) -> None:
    """A schema that is given as text; one that is given as an object has been decoded already."""
    encoded = text.encode("utf-8", "surrogatepass")
    check_elements(encoded, DEFAULTS, at)
    try:
        decoded = msgspec.json.decode(encoded)
    except msgspec.DecodeError:
        raise InvalidField(f"{at}: is not valid JSON", field=at) from None
    if not isinstance(decoded, dict):
        raise InvalidField(f"{at}: must be a JSON object", field=at)
