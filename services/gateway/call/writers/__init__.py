"""Where answers go: what the pipeline says to a writer, and the writers of the REST API."""

from services.gateway.call.writers.interface import Ending, Opening, Usage, Writer
from services.gateway.call.writers.piece import Piece, TokenLikelihood, ToolCallDelta

__all__ = ["Ending", "Opening", "Piece", "TokenLikelihood", "ToolCallDelta", "Usage", "Writer"]
