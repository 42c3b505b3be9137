"""Every container that the chart makes of a values file can start in its image."""

from pathlib import Path
from typing import Any

import pytest

from tests.deploy.chart import VALUES, pods, render
from tests.deploy.container import check
from tests.deploy.images import libraries

FILES = sorted(file.name for file in VALUES.glob("*.yaml"))
LLAMA = "llama-3.3-70b-fp8-h100.yaml"
WORKERS = ("prefill", "decode")
SIM = {"--engine": "sim"}
WITHOUT_PARSERS = {"--tool-call-parser": "", "--reasoning-parser": ""}
"""They take vLLM's imports; tests/e2e/test_chart_images.py has them."""


def container_of(component: str, values: str, *settings: str) -> dict[str, Any]:
    (found,) = pods(render(values, *settings))[component]["containers"]
    return dict(found)


@pytest.mark.parametrize("component", ["gateway", "router", *WORKERS])
@pytest.mark.parametrize("values", FILES)
def test_a_container_can_start_in_its_image(values: str, component: str, tmp_path: Path) -> None:
    container = container_of(component, values)
    has_vllm = "vllm" in libraries(container["image"])
    assert has_vllm or component not in WORKERS
    replaced = SIM if component in WORKERS else WITHOUT_PARSERS if has_vllm else {}
    answer = check(container, tmp_path, replaced)
    assert answer.code == 0, answer.said


@pytest.mark.parametrize("values", FILES)
def test_an_edge_can_start_in_its_image(values: str, tmp_path: Path) -> None:
    container = container_of("edge", values, "edge.enabled=true")
    replaced = WITHOUT_PARSERS if "vllm" in libraries(container["image"]) else {}
    answer = check(container, tmp_path, replaced)
    assert answer.code == 0, answer.said


@pytest.mark.parametrize(
    "flags",
    [
        ["--tool-call-parser=hermes"],
        ["--reasoning-parser=qwen3"],
        ["--tool-call-parser", "hermes"],
        ["--trace-otlp-endpoint=http://collector:4318/v1/traces"],
    ],
)
def test_flags_need_what_the_light_image_lacks_and_get_the_workers(flags: list[str], tmp_path: Path) -> None:
    given = [f"gateway.args[{n}]={flag}" for n, flag in enumerate(flags)]
    for component, more in (("gateway", "edge.enabled=false"), ("edge", "edge.enabled=true")):
        container = container_of(component, "1p1d.yaml", more, *given)
        assert container["image"] == "pdmesh:cuda"
    answer = check({**container, "image": "pdmesh:light"}, tmp_path, {})
    assert (answer.code, "component_missing" in answer.said) == (2, True), answer.said


def test_without_such_flags_a_gateway_runs_the_light_image() -> None:
    assert (
        container_of("gateway", "1p1d.yaml", "gateway.args[0]=--slo-ttft-ms=300")["image"] == "pdmesh:light"
    )
    assert container_of("gateway", LLAMA, "image.gateway=mine:1")["image"] == "mine:1"


def test_what_the_chart_mounts_is_checked(tmp_path: Path) -> None:
    container = container_of("gateway", "1p1d.yaml", "gateway.tenantsSecret=tenants")
    answer = check(container, tmp_path, {})
    assert (answer.code, "tenants.toml: No such file" in answer.said) == (2, True), answer.said
