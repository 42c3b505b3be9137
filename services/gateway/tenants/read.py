"""Reading a tenants file: strict, whole or not at all."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from services.common.credentials import KeyRecord
from services.common.domain import ServiceClass
from services.common.errors import BadSetting
from services.common.limits import DEFAULTS, Limits
from services.common.settings import Leaf, leaves, unknown
from services.common.settings.value import from_toml
from services.gateway.tenants.cache_salt import cache_salt
from services.gateway.tenants.caller import NO_BUDGET, Caller, MoneyBudget, TenantQuota
from services.gateway.tenants.entry import Allowance, TenantEntry
from services.gateway.tenants.tenants import Tenants

TABLES = ("cache_secret", "tenants", "tiers")
DEFAULT_TIER = "default"
_TENANT_LEAVES = {leaf.name: leaf for leaf in leaves(TenantEntry)}
_TIER_LEAVES = {leaf.name: leaf for leaf in leaves(Allowance)}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,127}")

Values = dict[str, Any]


def is_tenant_name(name: object) -> bool:
    """Whether a tenant may be called that: it goes into logs, metrics and keys of the store."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def read_tenants(text: bytes, source: str, limits: Limits = DEFAULTS) -> Tenants:
    """All tenants; raises `BadSetting` in one line that names the place. `source` ends in .yaml for YAML."""
    if len(text) > limits.tenants_size_bytes_max:
        raise BadSetting(f"{source}: over {limits.tenants_size_bytes_max} bytes")
    document = _parsed(text, source)
    for name in document:
        if name not in TABLES:
            raise unknown(f"key in {source}:", str(name), TABLES)
    secret = document.get("cache_secret", "")
    if not isinstance(secret, str):
        raise BadSetting(f"{source} cache_secret: is not text")
    tiers = {
        name: _values(table, _TIER_LEAVES, f"{source} [tiers.{name}]")
        for name, table in _tables(document, "tiers", source)
    }
    entries = {
        name: _values(table, _TENANT_LEAVES, f"{source} [tenants.{name}]")
        for name, table in _tables(document, "tenants", source)
    }
    if len(entries) > limits.tenants_max:
        raise BadSetting(f"{source}: over {limits.tenants_max} tenants")
    return Tenants(
        {name: _caller(name, values, tiers, secret, source) for name, values in entries.items()},
        _keys(entries, source),
    )


def _parsed(text: bytes, source: str) -> Mapping[str, Any]:
    """The document as nested tables. JSON is YAML, and is what a store may hold."""
    try:
        if source.endswith((".yaml", ".yml")):
            document = _from_yaml(text, source)
        elif text.lstrip()[:1] == b"{":
            document = json.loads(text)
        else:
            document = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # TOML's, JSON's and UTF-8's errors are ValueErrors
        raise BadSetting(f"{source}: {_in_one_line(error)}") from None
    if not isinstance(document, dict):
        raise BadSetting(f"{source}: holds no tables")
    return document


def _from_yaml(text: bytes, source: str) -> Any:
    import yaml  # only where a file is YAML

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadSetting(f"{source}: {_in_one_line(error)}") from None


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _tables(document: Mapping[str, Any], kind: str, source: str) -> Iterator[tuple[str, Values]]:
    tables = document.get(kind, {})
    if not isinstance(tables, dict):
        raise BadSetting(f"{source} {kind}: is not a table")
    for name, table in tables.items():
        if not is_tenant_name(name):
            raise BadSetting(f"{source} [{kind}]: {name!r} is no name; letters, digits and ._:@/+- are")
        if not isinstance(table, dict):
            raise BadSetting(f"{source} [{kind}.{name}]: is not a table")
        yield name, table


def _values(table: Values, known: Mapping[str, Leaf], at: str) -> Values:
    for key in table:
        if key not in known:
            raise unknown(f"key in {at}:", str(key), known)
    return {key: from_toml(known[key], value, f"{at} {key}") for key, value in table.items()}


def _caller(tenant: str, values: Values, tiers: Mapping[str, Values], secret: str, source: str) -> Caller:
    tier = values.get("tier") or DEFAULT_TIER
    if tier not in tiers and "tier" in values:
        raise unknown(f"tier in {source} [tenants.{tenant}]:", tier, tiers)
    joined = tiers.get(tier, {}) | values
    allowed = Allowance(**{name: joined[name] for name in _TIER_LEAVES if name in joined})
    quota = TenantQuota(
        allowed.tokens_per_minute, allowed.requests_per_minute, allowed.concurrent, _budget(allowed)
    )
    return Caller(
        tenant=tenant,
        service_class=ServiceClass[allowed.service_class.upper()],
        weight=allowed.weight,
        cache_salt=cache_salt(tenant, allowed.cache_group, secret),
        quota=quota,
        max_tokens=allowed.max_tokens,
        models=frozenset(allowed.models) or None,
        control_tokens=allowed.control_tokens,
        is_admin=allowed.is_admin,
    )


def _budget(allowed: Allowance) -> MoneyBudget:
    day, month = _nano(allowed.budget_per_day), _nano(allowed.budget_per_month)
    if day is None and month is None:
        return NO_BUDGET
    return MoneyBudget(day, month, allowed.budget_warning)


def _nano(amount: float | None) -> int | None:
    return None if amount is None else round(amount * 1e9)


def _keys(entries: Mapping[str, Values], source: str) -> dict[str, tuple[KeyRecord, str]]:
    keys: dict[str, tuple[KeyRecord, str]] = {}
    for tenant, values in entries.items():
        for text in values.get("keys", ()):
            at = f"{source} [tenants.{tenant}] keys"
            try:
                record = KeyRecord.parse(text)
            except ValueError as error:
                raise BadSetting(f"{at}: {error}") from None
            if record.key_id in keys:
                raise BadSetting(f"{at}: key {record.key_id} is listed twice")
            keys[record.key_id] = (record, tenant)
    return keys
