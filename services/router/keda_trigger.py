"""The metadata of a KEDA trigger as the rules of one tier."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.common.domain import Role
from services.common.errors import InvalidField
from services.common.settings import nearest
from services.router.core.scaling.rules import TierRules
from services.router.scaling_rules import floors

TIERS = {"prefill": Role.PREFILL, "decode": Role.DECODE}
IGNORED = frozenset({"scalerAddress", "enableTLS", "unsafeSsl"})
"""Keys that are for KEDA itself, which passes all on."""
RULES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "minReplicas": ("replicas_min", int),
    "maxReplicas": ("replicas_max", int),
    "spares": ("spares", int),
    "targetWaitMs": ("target_wait_ms", float),
    "targetOccupancy": ("target_occupancy", float),
    "stepMsTarget": ("step_ms_target", float),
    "upStepMax": ("up_step_max", int),
    "downStepMax": ("down_step_max", int),
    "downIntervalMs": ("down_interval_ms", float),
    "downCooldownMs": ("down_cooldown_ms", float),
    "coldStartMs": ("cold_start_ms", float),
    "floors": ("floors", lambda text: floors(part for part in text.split(";") if part.strip())),
}
"""Key: the rule that it sets, and how it is read."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """Which tier, under which rules."""

    model: str
    tier: Role
    rules: TierRules

    @property
    def metric(self) -> str:
        """The name of the tier's only metric."""
        return f"{self.tier.name.lower()}-replicas"


def parse(metadata: Mapping[str, str], rules_of: Callable[[Role], TierRules]) -> Trigger:
    """The trigger; what it does not say is as the router's own settings say. Raises InvalidField."""
    known = {"model", "tier", *RULES}
    for key in metadata:
        if key not in known and key not in IGNORED:
            like = nearest(key, known)
            hint = f"; the nearest is '{like}'" if like else ""
            raise InvalidField(f"unknown key '{key}'{hint}", field=key)
    tier = TIERS.get(metadata.get("tier", ""))
    if tier is None:
        raise InvalidField(f"tier is {' or '.join(TIERS)}", field="tier")
    if not metadata.get("model"):
        raise InvalidField("model is needed: the name of the pool", field="model")
    return Trigger(metadata["model"], tier, _rules(metadata, rules_of(tier)))


def _rules(metadata: Mapping[str, str], base: TierRules) -> TierRules:
    changes: dict[str, Any] = {}
    for key, (rule, read) in RULES.items():
        if key in metadata:
            try:
                changes[rule] = read(metadata[key])
            except ValueError as error:
                raise InvalidField(f"{key}: {error}", field=key) from None
    try:
        return replace(base, **changes)
    except ValueError as error:
        raise InvalidField(str(error), field="scalerMetadata") from None
