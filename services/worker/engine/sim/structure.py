"""Answers of a demanded shape: the simulated engine knows no grammars and says one fixed text of it."""

import json
from array import array
from hashlib import blake2b
from pathlib import Path
from typing import Any

from services.common.domain import SHAPE_REFUSED, Structured, StructuredKind
from services.common.domain.tokens import to_bytes, tokens

SCHEMA_DEPTH_MAX = 32
_PLAIN: dict[str, Any] = {"string": "text", "integer": 0, "number": 0.5, "boolean": True, "null": None}


class Unsupported(ValueError):
    """A shape of which the simulated engine has no example, and why."""


class Structures:
    """Makes fixed answers with the model's own tokenizer, which is loaded when it is first needed."""

    def __init__(self, model: str) -> None:
        self._path = Path(model).expanduser() / "tokenizer.json"
        self._tokenizer: Any = None

    def answer(self, structured: Structured, prompt: "array[int]") -> "array[int]":
        """The tokens of an answer of this shape; raises `Unsupported`."""
        text = example(structured, blake2b(to_bytes(prompt), digest_size=8).digest()[0])
        if self._tokenizer is None:
            self._tokenizer = self._load()
        return tokens(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _load(self) -> Any:
        if not self._path.is_file():
            raise Unsupported(f"{SHAPE_REFUSED}the sim engine needs the model's tokenizer.json for it")
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self._path))


def example(structured: Structured, draw: int) -> str:
    """A text of this shape, among several the one that `draw` says; raises `Unsupported`."""
    try:
        match structured.kind:
            case StructuredKind.JSON_OBJECT:
                return '{"sim": true}'
            case StructuredKind.JSON_SCHEMA:
                return json.dumps(_instance(json.loads(structured.value), SCHEMA_DEPTH_MAX))
            case StructuredKind.CHOICE:
                choices = json.loads(structured.value)
                return str(choices[draw % len(choices)])
    except (ValueError, LookupError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise Unsupported(f"{SHAPE_REFUSED}{error!r}") from error
    kind = structured.kind.name.lower()
    raise Unsupported(f"{SHAPE_REFUSED}the sim engine has none of the kind {kind}, which needs --engine vllm")


def _instance(schema: Any, depth: int) -> Any:
    """The plainest value that a JSON schema of usual keywords allows; raises ValueError for others."""
    if depth == 0:
        raise ValueError("the schema is nested too deeply")
    if schema is True or schema == {}:
        return {}
    for keyword in ("const", "enum", "anyOf", "oneOf", "allOf"):
        if keyword in schema:
            return _one_of(keyword, schema[keyword], depth)
    kind = schema.get("type", "object" if "properties" in schema else None)
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _instance(properties.get(name, {}), depth - 1) for name in _names(schema, properties)}
    if kind == "array":
        items = schema.get("items", {})
        return [_instance(items, depth - 1) for _ in range(max(1, schema.get("minItems", 1)))]
    if kind not in _PLAIN or _LIMITS & schema.keys():
        raise ValueError(f"no example of {json.dumps(schema)[:200]}")
    return _PLAIN[kind]


_LIMITS = {
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
}
"""Keywords that a plain example may break."""


def _names(schema: Any, properties: Any) -> list[str]:
    """Properties that the example has: the required ones, or all where none is."""
    return list(schema.get("required") or properties)


def _one_of(keyword: str, given: Any, depth: int) -> Any:
    if keyword == "const":
        return given
    if keyword == "allOf" and len(given) != 1:
        raise ValueError("no example of several schemas at once")
    return given[0] if keyword == "enum" else _instance(given[0], depth - 1)
