"""Loading vLLM's parsers when the gateway starts."""

import importlib.util
from pathlib import Path

from services.common.errors import ComponentMissing
from services.gateway.models.parsing.interface import NoParsing, Parsing


def load_parsing(directory: Path, tool_call_parser: str, reasoning_parser: str) -> Parsing:
    """The parsing of a model; takes vLLM's half minute of imports where a parser is named.

    Raises `ComponentMissing` without vLLM and `BadSetting` for a parser that there is not, or that does not
    go with the model's tokenizer.
    """
    if not (tool_call_parser or reasoning_parser):
        return NoParsing()
    if importlib.util.find_spec("vllm") is None:
        raise ComponentMissing(
            "--tool-call-parser and --reasoning-parser are vLLM's own: pip install 'pdmesh[cpu]' "
            "(or 'pdmesh[gpu]' on an NVIDIA machine)"
        )
    from services.gateway.models.parsing.vllm_parsers import VllmParsing

    return VllmParsing.load(directory, tool_call_parser, reasoning_parser)
