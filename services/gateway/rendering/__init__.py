"""Text and tokens: a model's own tokenizer and chat template in, incremental decoding out."""

from services.gateway.rendering.detokenizer import Detokenizer
from services.gateway.rendering.hub import model_directory
from services.gateway.rendering.model_files import ModelFiles
from services.gateway.rendering.renderer import Renderer
from services.gateway.rendering.stop_strings import StopMatcher

__all__ = ["Detokenizer", "ModelFiles", "Renderer", "StopMatcher", "model_directory"]
