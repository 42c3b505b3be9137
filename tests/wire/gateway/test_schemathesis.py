"""Schemathesis reads /openapi.json and asks whatever it allows: no 5xx, and every answer as described."""

import json
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from services.gateway.rest.openapi.operations import OPERATIONS
from tests.wire.gateway.conftest import Edge
from tests.wire.gateway.threaded import threaded_edge

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 20
EXAMPLES_NESTED = 8
"""Blocks within blocks take long to make up."""

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def mesh(model_directory: Path) -> Iterator[Edge]:
    """A gateway that answers everything."""
    with threaded_edge(model_directory) as edge:
        edge.router.script = edge.says("fine")
        yield edge


@pytest.fixture(scope="module")
def schema(mesh: Edge) -> Any:
    """What the gateway says of itself; but every model is the one that it serves, or little would run."""
    with urllib.request.urlopen(f"{mesh.url}/openapi.json", timeout=30) as answer:
        described = json.load(answer)
    for component in described["components"]["schemas"].values():
        if "model" in component["properties"]:
            component["properties"]["model"] = {"enum": ["tiny"]}
    made = schemathesis.openapi.from_dict(described)
    made.config.update(base_url=mesh.url)
    return made


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_whatever_the_description_allows(schema: Any, operation: Any) -> None:
    @seed(4)
    @settings(
        max_examples=EXAMPLES_NESTED if operation.is_anthropic else EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        case.call_and_validate(checks=CHECKS, timeout=30)

    given(case=schema[operation.path][operation.method.upper()].as_strategy())(ask)()
