"""Text and tokens: a model's own tokenizer and chat template in, incremental decoding out."""

from services.gateway.models.rendering.detokenizer import Detokenizer
from services.gateway.models.rendering.encoder import Encoder
from services.gateway.models.rendering.hub import model_directory
from services.gateway.models.rendering.model_files import ModelFiles
from services.gateway.models.rendering.renderer import Renderer
from services.gateway.models.rendering.stop_strings import StopMatcher

__all__ = ["Detokenizer", "Encoder", "ModelFiles", "Renderer", "StopMatcher", "model_directory"]
