"""Where answers go: what the pipeline says to a writer, and the writers of the REST API."""

from services.gateway.writers.interface import Ending, Opening, Usage, Writer
from services.gateway.writers.piece import Piece, TokenLikelihood, ToolCallDelta

__all__ = ["Ending", "Opening", "Piece", "TokenLikelihood", "ToolCallDelta", "Usage", "Writer"]
