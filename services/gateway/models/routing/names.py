"""Which names there are beside those of models, and what they stand for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from services.gateway.models.routing.entry import AdapterEntry, AutoEntry, FilesEntry

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Versions:
    """Models behind one name, by weight; the name itself among them is the model of that name."""

    weights: Mapping[str, float]
    by_tenant: bool = False
    """Whether a tenant gets one version for all of its conversations."""

    def share(self, version: str) -> float:
        """Of all callers, those that get a version; in percent."""
        return 100.0 * self.weights[version] / sum(self.weights.values())


@dataclass(frozen=True, slots=True)
class Names:
    """The models file, checked: no name stands for two things, and none for itself in the end."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, Versions] = field(default_factory=dict)
    adapters: Mapping[str, AdapterEntry] = field(default_factory=dict)
    auto: AutoEntry | None = None
    files: Mapping[str, FilesEntry] = field(default_factory=dict)

    def all(self) -> Iterator[str]:
        """Every name but those of models."""
        yield from self.aliases
        yield from self.versions
        yield from self.adapters
        if self.auto is not None:
            yield AUTO

    def next_of(self, name: str) -> tuple[str, ...]:
        """What a name may stand for, one step on; nothing for the name of a model or an adapter."""
        if name in self.aliases:
            return (self.aliases[name],)
        if name in self.versions:
            return tuple(version for version in self.versions[name].weights if version != name)
        if name == AUTO and self.auto is not None:
            return (self.auto.small, self.auto.large)
        return ()
