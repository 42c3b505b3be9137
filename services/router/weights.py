"""Weights as operators write them."""

from collections.abc import Iterable

from services.common.errors import BadSetting


def tenant_weights(written: Iterable[str]) -> dict[str, float]:
    """`["gold=3"]` as `{"gold": 3.0}`; raises BadSetting."""
    return dict(_pair(entry, "=", "tenant-weight") for entry in written)


def model_versions(written: Iterable[str]) -> dict[str, dict[str, float]]:
    """`["chat=a:90,b:10"]` as `{"chat": {"a": 90.0, "b": 10.0}}`; raises BadSetting."""
    versions = {}
    for entry in written:
        alias, equals, weights = entry.partition("=")
        if not (alias and equals and weights):
            raise BadSetting(f"model-version: '{entry}' is not NAME=MODEL:WEIGHT,MODEL:WEIGHT")
        versions[alias] = dict(_pair(part, ":", "model-version") for part in weights.split(","))
    return versions


def _pair(entry: str, separator: str, setting: str) -> tuple[str, float]:
    name, found, number = entry.rpartition(separator)
    try:
        weight = float(number)
    except ValueError:
        weight = -1.0
    if not (name and found) or not 0.0 <= weight < float("inf"):
        raise BadSetting(f"{setting}: '{entry}' is not NAME{separator}WEIGHT with a weight from 0")
    if setting == "tenant-weight" and weight == 0.0:
        raise BadSetting(f"{setting}: '{entry}' would never be served")
    return name, weight
