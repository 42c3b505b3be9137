"""The fields of vLLM's request models, read from the installed package's source; vLLM is not imported."""

import ast
import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

LIST = Path(__file__).with_name("vllm_models.json")
"""What was read last, so that the page can be made and checked where vLLM is not installed."""

_SOURCES = (
    "entrypoints/openai/chat_completion/protocol.py",
    "entrypoints/openai/completion/protocol.py",
    "entrypoints/pooling/base/protocol.py",
    "entrypoints/pooling/embed/protocol.py",
    "entrypoints/serve/tokenize/protocol.py",
    "entrypoints/generate/base/protocol.py",
    "sampling_params.py",
)
_MODELS = (
    "ChatCompletionRequest",
    "CompletionRequest",
    "EmbeddingCompletionRequest",
    "TokenizeCompletionRequest",
    "TokenizeChatRequest",
    "DetokenizeRequest",
    "StreamOptions",
    "StructuredOutputsParams",
)


def committed() -> dict[str, list[str]]:
    """The fields of each model, as they were read last."""
    read: dict[str, list[str]] = json.loads(LIST.read_text())
    return read


def installed() -> dict[str, list[str]] | None:
    """The fields of each model in the installed vLLM; `None` where there is none."""
    spec = find_spec("vllm")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    classes: dict[str, ast.ClassDef] = {}
    for source in _SOURCES:
        classes |= _classes((package / source).read_text())
    return {model: list(dict.fromkeys(fields_of(model, classes))) for model in _MODELS}


def text_of(models: Mapping[str, list[str]]) -> str:
    """The content of `LIST`."""
    return json.dumps(models, indent=1) + "\n"


def fields_of(name: str, classes: Mapping[str, ast.ClassDef]) -> Iterator[str]:
    """The public fields of a model; before its own, those of the models that it extends."""
    found = classes.get(name)
    if found is None:
        return
    for base in found.bases:
        yield from fields_of(ast.unparse(base).rpartition(".")[2], classes)
    for node in found.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            is_constant = "ClassVar" in ast.unparse(node.annotation)
            if not (node.target.id.startswith("_") or is_constant):
                yield node.target.id


def _classes(source: str) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
