"""The chart's schema of values: complete, and closed to others."""

import json
from typing import Any

import pytest
import yaml

from tests.deploy.chart import CHART, RenderFailed, render

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
MODEL = "model.path=/models/demo"


def fields(schema: dict[str, Any]) -> Any:
    """Names of values as the schema has them; None where it lets any through."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    if schema.get("additionalProperties") is not False:
        return None
    return {name: fields(part) for name, part in schema["properties"].items()}


def names(values: Any, like: Any) -> Any:
    """Names of values, as deep as the schema goes."""
    if like is None:
        return None
    return {name: names(part, like.get(name)) for name, part in values.items()}


def test_the_schema_has_every_value_and_no_other() -> None:
    known = fields(SCHEMA)
    del known["global"]  # helm's own
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert names(values, known) == known


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("gatway.replicas=2", "gatway is not allowed"),
        ("gateway.replica=2", "gateway: Additional property replica"),
        ("prefill.arg[0]=--x", "prefill: Additional property arg"),
        ("decode.autoscaling.minReplica=1", "decode.autoscaling: Additional property minReplica"),
        ("prefill.resources.limit.cpu=1", "prefill.resources: Additional property limit"),
        ("image.gatway=x", "image: Additional property gatway"),
        ("monitors.rule=true", "monitors: Additional property rule"),
        ("gateway.replicas=two", "gateway.replicas: Invalid type"),
        ("decode.engine=vlm", "decode.engine: decode.engine must be one of"),
    ],
)
def test_a_value_that_there_is_not_is_an_error(setting: str, words: str) -> None:
    with pytest.raises(RenderFailed, match=words):
        render("", MODEL, setting)
