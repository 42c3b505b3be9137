"""From the name that a caller uses to the model that answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.common.domain.versions import choose_version
from services.common.errors import ModelNotFound
from services.gateway.call.call import Call
from services.gateway.call.parts import Route
from services.gateway.models.routing.classifier import CHARS_PER_TOKEN, Classifier, chars_of, load_classifier
from services.gateway.models.routing.names import AUTO, Names, Versions
from services.gateway.models.served import Listed

REASON_CHARS_MAX = 400


class Fleet(Protocol):
    """What is served at the moment (`Models`)."""

    def served(self) -> Mapping[str, int]:
        """Longest prompt and answer together, in tokens, by the name of each model."""

    def adapters(self) -> Mapping[str, Sequence[str]]:
        """Names of LoRA adapters, by the model that they belong to."""

    def listed(self) -> Mapping[str, Listed]:
        """Models and adapters."""


@dataclass(slots=True)
class _Way:
    """The steps from a name to a model."""

    name: str
    reasons: list[str]


class Routes:
    """Resolves names: `auto`, aliases and versions one after the other, then models and adapters.

    Stateless but for the names, which may be replaced at any time: the same caller gets the same version at
    every gateway with the same file.
    """

    def __init__(self, fleet: Fleet, names: Names | None = None) -> None:
        self._fleet = fleet
        self._names = Names()
        self._classifier: Classifier | None = None
        if names is not None:
            self.replace(names)

    def replace(self, names: Names) -> None:
        """Use other names from the next call on; raises `BadSetting` and changes nothing."""
        self._classifier = load_classifier(names.auto) if names.auto is not None else None
        self._names = names

    def resolve(self, call: Call) -> Route:
        """Where a call goes (see `ModelRoutes`); raises `ModelNotFound` for a name its caller may not use."""
        name = call.generation.model
        if not call.caller.may_use(name):
            raise ModelNotFound(f"The model {name[:200]!r} does not exist", field="model")
        way = _Way(name, [])
        while self._step(way, call):
            pass
        reason = "; ".join(way.reasons)[:REASON_CHARS_MAX]
        model, adapter = self._adapter(way.name)
        if reason:
            call.notes.update({"served_model": adapter or model, "model_reason": reason})
        name = way.name if adapter else ""
        return Route(model, served_name=adapter or model, lora=adapter, adapter_name=name, reason=reason)

    def listed(self) -> Mapping[str, Listed]:
        """All names that lead to something served; the length is that of the shortest they may lead to."""
        found = dict(self._fleet.listed())
        adapters = self._fleet.adapters()
        for name, entry in self._names.adapters.items():
            if entry.adapter in adapters.get(entry.model, ()):
                found[name] = Listed(found[entry.model].model_len, parent=entry.model)
        aliases = {name: self._listed(name, found) for name in self._names.all() if name not in found}
        return found | {name: listed for name, listed in aliases.items() if listed is not None}

    def _listed(self, name: str, found: Mapping[str, Listed]) -> Listed | None:
        behind = [found.get(next_) or self._listed(next_, found) for next_ in self._names.next_of(name)]
        lens = [listed.model_len for listed in behind if listed is not None]
        return Listed(min(lens)) if lens else None

    # One step of a name.

    def _step(self, way: _Way, call: Call) -> bool:
        """Go one step on; False where there is none."""
        names = self._names
        if way.name in names.aliases:
            way.reasons.append(f"{way.name} is {names.aliases[way.name]}")
            way.name = names.aliases[way.name]
        elif way.name in names.versions:
            return self._choose_version(way, names.versions[way.name], call)
        elif way.name == AUTO and names.auto is not None and self._classifier is not None:
            verdict = self._classifier.classify(call.generation)
            way.reasons.append(f"auto: {'large' if verdict.is_large else 'small'}, {verdict.reason}")
            wanted, other = names.auto.large, names.auto.small
            if not verdict.is_large:
                wanted, other = other, wanted
            way.name = self._fitting(way, call, wanted, other)
        else:
            return False
        return True

    def _choose_version(self, way: _Way, versions: Versions, call: Call) -> bool:
        """By weight, among those that are served; where none is, the error is that of the one chosen."""
        listed = self.listed()
        served = {name: weight for name, weight in versions.weights.items() if name in listed}
        caller = _sticky(call, by_tenant=versions.by_tenant)
        version = choose_version(way.name, caller, served)
        version = version or choose_version(way.name, caller, versions.weights) or way.name
        name, way.name = way.name, version
        way.reasons.append(f"{name} is {version} for {versions.share(version):.3g} % of callers")
        return version != name

    def _fitting(self, way: _Way, call: Call, wanted: str, other: str) -> str:
        """The size that was decided on, unless only the other is served, or the call is too long for it."""
        listed = self.listed()
        if other not in listed:
            return wanted
        if wanted not in listed:
            way.reasons.append(f"{wanted} is not served")
            return other
        generation = call.generation
        tokens = chars_of(generation.prompts[0]) // CHARS_PER_TOKEN + generation.sampling.max_tokens
        if listed[wanted].model_len < min(tokens, listed[other].model_len):
            way.reasons.append(f"too long for {wanted}")
            return other
        return wanted

    def _adapter(self, name: str) -> tuple[str, str]:
        """Model and adapter behind a name; a model goes before an adapter of the same name."""
        entry = self._names.adapters.get(name)
        if entry is not None:
            return entry.model, entry.adapter
        if name not in self._fleet.served():
            for model, adapters in sorted(self._fleet.adapters().items()):
                if name in adapters:
                    return model, name
        return name, ""


def _sticky(call: Call, *, by_tenant: bool) -> str:
    """What always gets the same version."""
    tenant, conversation = call.caller.tenant, call.session_key
    return (tenant or conversation if by_tenant else conversation or tenant) or call.request_id
