"""Which models can be asked for here: served by the router, and known to this gateway's tokenizers."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.common.domain import EmbeddingModel
from services.common.domain.record import record
from services.common.errors import InvalidField, ModelNotFound, NoWorkers, RouterUnavailable
from services.gateway.links.routers import RETRY_AFTER_MS, Routers
from services.gateway.models.parsing import NoParsing, Parsing, load_parsing
from services.gateway.models.rendering import Encoder, ModelFiles, Renderer, model_directory

NO_PARSING = NoParsing()
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kit:
    """What makes tokens of a model's prompts and text of its answers."""

    renderer: Renderer
    parsing: Parsing = NO_PARSING
    """How the model writes tool calls and reasoning."""


def load_kit(model: str, tool_call_parser: str = "", reasoning_parser: str = "") -> Kit:
    """The kit in a directory, or of a name on the hub; takes a second, and half a minute with parsers.

    Raises `ModelMissing`, and what `load_parsing` raises.
    """
    directory = model_directory(model)
    files = ModelFiles.read(directory)
    if files.tokenizer_size > files.vocabulary_size:
        _log.warning(
            "the tokenizer of %s has token ids up to %d and its model reads those below %d: requests with "
            "others are refused",
            model,
            files.tokenizer_size - 1,
            files.vocabulary_size,
        )
    renderer = Renderer(files)
    return Kit(renderer, load_parsing(directory, tool_call_parser, reasoning_parser))


@dataclass(frozen=True, slots=True)
class Listed:
    """One name that can be asked for."""

    model_len: int
    """Longest prompt and answer together, in tokens."""
    parent: str = ""
    """The model of an adapter."""


@record
class ServedModel:
    """One model, as a request needs it."""

    name: str
    model_len: int
    """Longest prompt and answer together, in tokens."""
    renderer: Renderer
    parsing: Parsing = NO_PARSING
    """How it writes tool calls and reasoning."""
    embedding_model: EmbeddingModel | None = None
    """Set where it gives vectors and generates nothing."""
    limits_thinking: bool = False
    """Whether its workers keep a budget of reasoning tokens."""


class Models:
    """The models of one gateway. Without a name of its own, the kit serves whatever the router does."""

    def __init__(self, session: Routers, kit: Kit, own_name: str = "") -> None:
        self.created_s = int(time.time())
        self.kits: Mapping[str, Kit] = {}
        """Those of models that have their own, by name."""
        self.listing: Callable[[], Mapping[str, Listed]] = self.listed
        """All names that can be asked for; models and adapters where nobody knows of more."""
        self._session = session
        self._kit = kit
        self._own_name = own_name

    @property
    def is_attached(self) -> bool:
        """Whether a router is connected."""
        return self._session.is_attached

    def encoders(self) -> Mapping[str, Encoder]:
        """What encodes prompts, by model; `*` is every model without a tokenizer of its own."""
        kits = {self._own_name or "*": self._kit, **self.kits}
        return {name: kit.renderer.encoder for name, kit in kits.items()}

    def served(self) -> Mapping[str, int]:
        """The length in tokens of each model, by name."""
        lens = self._session.model_lens
        if not self._own_name:
            return lens
        names = {self._own_name, *self.kits}
        return {name: length for name, length in lens.items() if name in names}

    def adapters(self) -> Mapping[str, Sequence[str]]:
        """The LoRA adapters of each model, by name."""
        served = self.served()
        return {name: adapters for name, adapters in self._session.adapters.items() if name in served}

    def listed(self) -> Mapping[str, Listed]:
        """Models, and adapters whose names are not taken by one."""
        lens = self.served()
        adapters = {
            adapter: Listed(lens[model], parent=model)
            for model, names in self.adapters().items()
            for adapter in names
        }
        return adapters | {name: Listed(length) for name, length in lens.items()}

    def find(self, name: str) -> ServedModel:
        """A model by name; raises `ModelNotFound`, `NoWorkers` for one that was served and is not now, or
        `RouterUnavailable` while that cannot be known.
        """
        if not self.is_attached:
            raise RouterUnavailable("no router is connected", retry_after_ms=RETRY_AFTER_MS)
        model_len = self.served().get(name)
        if model_len is None and self._is_expected(name):
            raise NoWorkers("no worker serves the model at the moment", retry_after_ms=RETRY_AFTER_MS)
        if model_len is None:
            raise ModelNotFound(f"The model {name[:200]!r} does not exist", field="model")
        kit = self.kits.get(name, self._kit)
        vectors = self._session.embedding_models.get(name)
        limits = name in self._session.limit_thinking
        return ServedModel(name, model_len, kit.renderer, kit.parsing, vectors, limits)

    def may_come_back(self, name: str) -> bool:
        """Whether a request for a model that is not served now may wait for it."""
        return self._session.may_come_back(name)

    async def comes_back(self, name: str, left_ms: float | None) -> bool:
        """Wait until it is served again, `left_ms` at most where that is set; whether it is."""
        return await self._session.comes_back(name, left_ms)

    def only_name(self) -> str:
        """The one model that is served, for callers that name none; raises `InvalidField` and `NoWorkers`."""
        served = sorted(self.served())
        if not served:
            raise NoWorkers("no model is served", retry_after_ms=RETRY_AFTER_MS)
        if len(served) > 1:
            raise InvalidField("model: is required, as several are served", field="model")
        return served[0]

    def _is_expected(self, name: str) -> bool:
        """Whether a model will be served, or be served again: it is this gateway's own, or was there before.

        Before the first worker has loaded, a gateway without a name of its own knows none that is not.
        """
        known = self._session.known_models
        if self._own_name:
            return name in (self._own_name, *self.kits)
        return name in known or not known
