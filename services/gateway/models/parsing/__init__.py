"""Tool calls and reasoning in what a model writes: vLLM's own parsers, where they are asked for.

Importing this package costs nothing; vLLM is imported by `load_parsing`, the only place in the gateway that
does, and only where a parser is configured.
"""

from services.gateway.models.parsing.interface import AnswerReader, NoParsing, Parsing, Reading
from services.gateway.models.parsing.load import load_parsing

__all__ = ["AnswerReader", "NoParsing", "Parsing", "Reading", "load_parsing"]
