"""All tenants as they are at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.common.credentials import KeyRecord, key_id
from services.gateway.tenants.caller import Caller

_NOBODY = KeyRecord("", bytes(32))
"""Compared with where there is no such key, so that it takes as long as where there is."""


@dataclass(frozen=True, slots=True)
class Tenants:
    """Immutable: a change of the file makes another one."""

    callers: Mapping[str, Caller] = field(default_factory=dict)
    """By tenant."""
    keys: Mapping[str, tuple[KeyRecord, str]] = field(default_factory=dict)
    """Record and tenant by key id."""

    def by_key(self, key: str) -> Caller | None:
        """Whose key this is."""
        record, tenant = self.keys.get(key_id(key), (_NOBODY, ""))
        return self.callers[tenant] if record.matches(key) and tenant else None

    def by_name(self, tenant: str) -> Caller | None:
        """The tenant of that name."""
        return self.callers.get(tenant)
