"""Which version of a model a caller gets: by weights, the same caller always the same."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.common.domain.versions import choose_version


@dataclass(frozen=True, slots=True)
class ModelVersions:
    """Weights of the versions behind each alias; an alias without an entry is a version itself."""

    weights: Mapping[str, Mapping[str, float]]
    name: str = "model_versions"

    def version(self, alias: str, caller: str) -> str:
        """The model that this caller (a tenant or a conversation) gets for an alias."""
        weights = self.weights.get(alias)
        return choose_version(alias, caller, weights) or alias if weights else alias
