"""Which models can be asked for here: served by the router, and known to this gateway's tokenizers."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from services.common.errors import ModelNotFound, NoWorkers, RouterUnavailable
from services.gateway.parsing import NoParsing, Parsing
from services.gateway.rendering import Renderer
from services.gateway.routers import RETRY_AFTER_MS, Routers

NO_PARSING = NoParsing()


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model, as a request needs it."""

    name: str
    model_len: int
    """Longest prompt and answer together, in tokens."""
    renderer: Renderer
    parsing: Parsing = NO_PARSING
    """How it writes tool calls and reasoning."""


class Models:
    """The models of one gateway. Without a name of its own, the renderer serves whatever the router does."""

    def __init__(
        self, session: Routers, renderer: Renderer, own_name: str = "", parsing: Parsing = NO_PARSING
    ) -> None:
        self.created_s = int(time.time())
        self._session = session
        self._renderer = renderer
        self._own_name = own_name
        self._parsing = parsing

    @property
    def is_attached(self) -> bool:
        """Whether a router is connected."""
        return self._session.is_attached

    def served(self) -> Mapping[str, int]:
        """The length in tokens of each model, by name."""
        lens = self._session.model_lens
        if not self._own_name:
            return lens
        return {name: length for name, length in lens.items() if name == self._own_name}

    def find(self, name: str) -> ServedModel:
        """A model by name; raises `ModelNotFound`, `NoWorkers` for one that was served and is not now, or
        `RouterUnavailable` while that cannot be known.
        """
        if not self.is_attached:
            raise RouterUnavailable("no router is connected", retry_after_ms=RETRY_AFTER_MS)
        model_len = self.served().get(name)
        if model_len is None and name in self._session.known_models and self._own_name in ("", name):
            raise NoWorkers("no worker serves the model at the moment", retry_after_ms=RETRY_AFTER_MS)
        if model_len is None:
            raise ModelNotFound(f"The model {name[:200]!r} does not exist", field="model")
        return ServedModel(name, model_len, self._renderer, self._parsing)
