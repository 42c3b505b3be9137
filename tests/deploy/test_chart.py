"""The Helm chart: valid for Kubernetes, and every flag in it one that the command line takes."""

import base64
import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from services.cli.serve import parse_edge, parse_service
from services.common.credentials.mesh import SECRET_CHARS_MIN
from services.router.core.scaling.rules import TierRules
from services.router.keda_trigger import parse as parse_trigger
from tests.deploy.chart import VALUES, Manifest, RenderFailed, of_kind, pods, render

KUBERNETES = ("1.29", "1.33")
"""The oldest that the chart allows, and a recent one."""
MODEL = "model.path=/models/demo"
EVERYTHING = (
    MODEL,
    *("mesh.secret=mesh", "gateway.tenantsSecret=tenants", "gateway.tlsSecret=tls"),
    *("model.hubTokenSecret=hub", "model.claim=models", "monitors.enabled=true"),
    *("prefill.devices.rdma/ib=1", "decode.env[0].name=UCX_TLS", "decode.env[0].value=rc"),
)
CASES = {
    "defaults": ("", MODEL),
    "laptop": ("laptop.yaml",),
    "1p1d": ("1p1d.yaml", MODEL),
    "llama": ("llama-3.3-70b-fp8-h100.yaml",),
    "hpa": ("hpa.yaml", MODEL),
    "prometheus": ("", MODEL, "prefill.autoscaling.by=prometheus", "decode.autoscaling.by=prometheus"),
    "keda": ("", MODEL, "prefill.autoscaling.by=keda", "decode.autoscaling.by=keda", "router.replicas=3"),
    "everything": ("", *EVERYTHING),
    "edge": ("", *EVERYTHING, "edge.enabled=true", "router.replicas=3", "prefill.autoscaling.by=keda"),
}
CRDS = {
    (crd["group"], crd["kind"]): crd
    for file in sorted(Path(__file__).with_name("crds").glob("*.json"))
    for crd in [json.loads(file.read_text())]
}


@pytest.fixture(params=CASES, ids=str)
def manifests(request: pytest.FixtureRequest) -> tuple[Manifest, ...]:
    return render(*CASES[request.param])


def closed(schema: Any) -> Any:
    """A CRD's schema in which an unknown field is an error, as `kubectl apply` warns of it."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        made.setdefault("additionalProperties", bool(schema.get("x-kubernetes-preserve-unknown-fields")))
    if made.pop("x-kubernetes-int-or-string", False):
        return {"type": ["integer", "string"]}
    return made


def validate(manifest: Manifest, kubernetes: str) -> None:
    group = manifest["apiVersion"].partition("/")[0]
    crd = CRDS.get((group, manifest["kind"]))
    if crd is None:
        kubernetes_validate.validate(manifest, kubernetes, strict=True)
        return
    assert manifest["apiVersion"].partition("/")[2] == crd["version"]
    schema = closed(crd["schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(manifest, schema)


def test_every_values_file_is_a_case() -> None:
    assert {file.name for file in VALUES.glob("*.yaml")} <= {case[0] for case in CASES.values()}


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_manifests_are_valid(manifests: tuple[Manifest, ...], kubernetes: str) -> None:
    for manifest in manifests:
        validate(manifest, kubernetes)


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("Deployment", lambda m: m["spec"]["template"]["spec"]["containers"][0].update(imagee="x")),
        ("ScaledObject", lambda m: m["spec"].update(minReplicas=1)),
        ("PodMonitor", lambda m: m["spec"].update(podMetricsEndpoints="none")),
    ],
)
def test_validation_can_fail(kind: str, spoil: Any) -> None:
    found = of_kind(render("llama-3.3-70b-fp8-h100.yaml"), kind)
    manifest = json.loads(json.dumps(next(iter(found.values()))))
    validate(manifest, KUBERNETES[-1])
    spoil(manifest)
    with pytest.raises((kubernetes_validate.ValidationError, jsonschema.ValidationError)):
        validate(manifest, KUBERNETES[-1])


def test_every_flag_is_one_that_the_command_takes(manifests: tuple[Manifest, ...]) -> None:
    for component, pod in pods(manifests).items():
        if component == "redis":
            continue
        serve, service, *flags = pod["containers"][0]["args"]
        assert (serve, service) == ("serve", component)
        flags = [flag.replace("$(POD_IP)", "127.0.0.1") for flag in flags]
        read, _ = parse_edge(flags) if service == "edge" else parse_service(service, flags)
        assert read.service is not None


def test_probes_and_ports_agree_with_the_flags(manifests: tuple[Manifest, ...]) -> None:
    for component, pod in pods(manifests).items():
        container = pod["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        flags: dict[str, str] = {}
        for flag in container["args"]:  # an edge's router has its port after its gateway's
            name, _, value = flag[2:].partition("=")
            flags.setdefault("http-port" if name == "port" else name, value)
        for name, port in (
            ("http", "http-port"),
            ("metrics", "metrics-port"),
            ("lanes", "lane-port"),
            ("side-channel", "side-channel-port"),
        ):
            if name in ports:
                assert flags[port] == str(ports[name]), component
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            asked = container.get(probe, {})
            for kind in ("httpGet", "tcpSocket", "grpc"):
                if kind in asked:
                    assert asked[kind]["port"] in {*ports, *ports.values()}, (component, probe)


def test_every_service_reaches_a_pod_and_every_budget_too(manifests: tuple[Manifest, ...]) -> None:
    workloads = of_kind(manifests, "Deployment") | of_kind(manifests, "StatefulSet")
    labels = [workload["spec"]["template"]["metadata"]["labels"] for workload in workloads.values()]
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor"):
        for manifest in of_kind(manifests, kind).values():
            spec = manifest["spec"]
            selector = spec.get("podSelector") or spec["selector"]
            wanted = selector.get("matchLabels", selector)
            assert sum(wanted.items() <= found.items() for found in labels) == 1, (kind, manifest["metadata"])


def test_pods_run_without_privileges_and_with_time_to_drain(manifests: tuple[Manifest, ...]) -> None:
    for component, pod in pods(manifests).items():
        assert pod["securityContext"]["runAsNonRoot"], component
        container = pod["containers"][0]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        written = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert written & {"/tmp", "/data"}, component
        grace = [flag for flag in container["args"] if flag.startswith("--grace-ms=")]
        for flag in grace:
            assert pod["terminationGracePeriodSeconds"] * 1000 > int(flag.partition("=")[2])


def test_a_worker_has_time_to_load_and_is_not_killed_for_draining() -> None:
    for component, pod in pods(render("llama-3.3-70b-fp8-h100.yaml")).items():
        if component not in ("prefill", "decode"):
            continue
        container = pod["containers"][0]
        startup = container["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 1_800
        assert "grpc" in startup, "serving by its own word: it has generated tokens"
        assert "tcpSocket" in container["livenessProbe"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
        assert "--tensor-parallel-size=2" in container["args"]
        assert pod["nodeSelector"]["nvidia.com/gpu.product"].startswith("NVIDIA-H100")


def test_every_router_is_known_to_gateways_and_workers() -> None:
    found = pods(render(*CASES["keda"]))
    names = [f"test-router-{n}.test-router.serving.svc:9000" for n in range(3)]
    gateway = [flag for flag in found["gateway"]["containers"][0]["args"] if flag.startswith("--router=")]
    assert gateway == [f"--router={name}" for name in names]
    for tier in ("prefill", "decode"):
        assert f"--routers={','.join(names)}" in found[tier]["containers"][0]["args"]


def test_gateways_and_workers_may_open_every_port_of_a_router() -> None:
    manifests = render(*CASES["keda"])
    listed = pods(manifests)["router"]["containers"][0]["ports"]
    policy = of_kind(manifests, "NetworkPolicy")["router"]["spec"]
    mesh = [rule for rule in policy["ingress"] if "podSelector" in str(rule.get("from"))]
    opened = {port["port"] for rule in mesh for port in rule["ports"]}
    assert opened == {port["containerPort"] for port in listed if port["name"] != "metrics"}


@pytest.mark.parametrize("case", ["keda", "llama"])
def test_the_router_takes_the_metadata_of_every_keda_trigger(case: str) -> None:
    for component, manifest in of_kind(render(*CASES[case]), "ScaledObject").items():
        (asked,) = manifest["spec"]["triggers"]
        trigger = parse_trigger(asked["metadata"], lambda _: TierRules())
        assert trigger.tier.name.lower() == component
        spec, rules = manifest["spec"], trigger.rules
        assert (rules.replicas_min, rules.replicas_max) == (spec["minReplicaCount"], spec["maxReplicaCount"])
        assert "scalingModifiers" not in spec["advanced"], "the routers have added up already"


def test_keda_asks_a_service_that_has_only_routers_that_are_ready() -> None:
    manifests = render(*CASES["keda"])
    services = {m["metadata"]["name"]: m["spec"] for m in manifests if m["kind"] == "Service"}
    (asked,) = of_kind(manifests, "ScaledObject")["decode"]["spec"]["triggers"]
    host, _, port = asked["metadata"]["scalerAddress"].partition(":")
    spec = services[host.removesuffix(".serving.svc")]
    assert spec["selector"]["app.kubernetes.io/component"] == "router"
    assert not spec.get("publishNotReadyAddresses")
    assert spec.get("clusterIP") != "None"
    assert [int(port)] == [p["port"] for p in spec["ports"]]


def test_an_edge_is_reached_as_its_gateway_and_its_router_and_both_its_secrets_are_one() -> None:
    manifests = render(*CASES["edge"])
    (edge,) = pods(manifests)["edge"]["containers"]
    assert {"gateway", "router"}.isdisjoint(pods(manifests))
    assert of_kind(manifests, "StatefulSet")["edge"]["spec"]["replicas"] == 3
    ports = {port["name"]: port["containerPort"] for port in edge["ports"]}
    services = {m["metadata"]["name"]: m["spec"] for m in manifests if m["kind"] == "Service"}
    for name, reached in (
        ("test-gateway", (8000, 8001)),
        ("test-edge", (9000, 9001)),
        ("test-edge-scaling", (9000,)),
    ):
        assert tuple(ports[port["targetPort"]] for port in services[name]["ports"]) == reached
    names = ",".join(f"test-edge-{n}.test-edge.serving.svc:9000" for n in range(3))
    assert f"--routers={names}" in pods(manifests)["decode"]["containers"][0]["args"]
    secrets = [given["name"] for given in edge["env"] if given["name"].endswith("MESH_SECRET")]
    assert secrets == ["PDMESH_GATEWAY_MESH_SECRET"], "the router's is its gateway's word"


def test_keda_finds_an_edge_that_waits_for_its_first_worker() -> None:
    manifests = render(*CASES["edge"])
    services = {m["metadata"]["name"]: m["spec"] for m in manifests if m["kind"] == "Service"}
    (asked,) = of_kind(manifests, "ScaledObject")["prefill"]["spec"]["triggers"]
    host = asked["metadata"]["scalerAddress"].partition(":")[0]
    assert services[host.removesuffix(".serving.svc")]["publishNotReadyAddresses"]


def test_the_prometheus_variant_asks_for_a_metric_that_exists() -> None:
    known = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    for manifest in of_kind(render(*CASES["prometheus"]), "ScaledObject").values():
        query = manifest["spec"]["triggers"][0]["metadata"]["query"]
        assert query.startswith("max("), "each router says how many there should be in all"
        assert f"`{query.partition('(')[2].partition('{')[0]}`" in known


@pytest.mark.parametrize(
    ("settings", "words"),
    [((), "model.path is needed"), ((MODEL, "prefill.autoscaling.by=magic"), "not magic")],
)
def test_what_cannot_be_rendered_is_said(settings: tuple[str, ...], words: str) -> None:
    with pytest.raises(RenderFailed, match=words):
        render("", *settings)


def test_a_mesh_has_a_secret_unless_it_is_to_be_open() -> None:
    manifests = render("", MODEL)
    (made,) = [m for m in manifests if m["kind"] == "Secret"]
    assert len(base64.b64decode(made["data"]["secret"])) >= SECRET_CHARS_MIN
    for component, pod in pods(manifests).items():
        shown = {e["name"]: e.get("valueFrom", {}) for e in pod["containers"][0].get("env", [])}
        if component != "redis":
            told = shown[f"PDMESH_{component.upper()}_MESH_SECRET"]["secretKeyRef"]
            assert told == {"name": made["metadata"]["name"], "key": "secret"}
    open_mesh = render("", MODEL, "mesh.open=true")
    assert not [m for m in open_mesh if m["kind"] == "Secret"]
    assert "MESH_SECRET" not in json.dumps(open_mesh)


@pytest.mark.parametrize("edge", ["true", "false"])
def test_an_address_with_a_password_is_in_no_flag(edge: str) -> None:
    manifests = render("", MODEL, "redis.urlSecret=cache", f"edge.enabled={edge}")
    assert "redis" not in pods(manifests)
    for component, pod in pods(manifests).items():
        (container,) = pod["containers"]
        assert not [flag for flag in container["args"] if flag.startswith(("--store", "--redis-url"))]
        told = {e["name"] for e in container["env"] if "cache" in json.dumps(e)}
        services = {"edge": ["GATEWAY", "ROUTER"]}.get(component, [component.upper()])
        stores = {f"PDMESH_{s}_STORE" for s in services if s in ("GATEWAY", "ROUTER")}
        assert told == {f"PDMESH_{services[0]}_REDIS_URL", *stores}
