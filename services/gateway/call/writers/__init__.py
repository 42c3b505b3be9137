"""What the pipeline says to the writer of an answer: pieces, and how it begins and ends."""

from services.gateway.call.writers.interface import Ending, Opening, Template, Usage, Writer
from services.gateway.call.writers.piece import Piece, TokenLikelihood, ToolCallDelta

__all__ = ["Ending", "Opening", "Piece", "Template", "TokenLikelihood", "ToolCallDelta", "Usage", "Writer"]
