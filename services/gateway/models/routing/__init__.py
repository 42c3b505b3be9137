"""Names of models: aliases, weighted versions, `auto`, and LoRA adapters.

One TOML file says what each name stands for, and is read again when it changes. Resolving a name takes no
waiting and touches nothing shared, so every gateway with the same file sends the same caller to the same
version.
"""

from services.gateway.models.routing.live import ModelsFile
from services.gateway.models.routing.routes import Routes

__all__ = ["ModelsFile", "Routes"]
