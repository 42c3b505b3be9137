"""Which processes a mesh has, and how engine arguments reach each tier."""

import os
from collections.abc import Iterator
from itertools import count
from random import Random

import pytest

from services.cli.cores import share_cores
from services.cli.plan import ChildSpec, plan
from services.cli.ports import CLAIMS_MAX, FIRST, LAST, free_ports
from services.cli.up_settings import UpSettings
from services.common.credentials import JwtSettings, MeshSettings, TlsSettings
from services.common.retrieval import RetrievalSettings
from services.common.settings import StrictParser, add_flags, parse_flags
from services.gateway.settings import Settings
from services.worker.engine_arguments import EngineArguments


@pytest.fixture
def ports() -> Iterator[int]:
    return count(21_000)


def named(specs: list[ChildSpec]) -> dict[str, ChildSpec]:
    return {spec.name: spec for spec in specs}


def values(spec: ChildSpec, flag: str) -> list[str]:
    """All values that a command line gives to a flag."""
    return [spec.command[i + 1] for i, part in enumerate(spec.command) if part == flag]


def test_every_process_has_its_own_port_and_knows_the_router(ports: Iterator[int]) -> None:
    specs = named(plan(UpSettings(model="m", prefill=2, decode=1, port=0), ports, [0, 1]))
    assert list(specs) == ["router", "prefill-1", "prefill-2", "decode-1", "gateway"]
    assert len({values(spec, "--port")[0] for spec in specs.values()}) == 5
    assert len({values(spec, "--metrics-port")[0] for spec in specs.values() if spec.name != "gateway"}) == 4
    router = "127.0.0.1:" + values(specs["router"], "--port")[0]
    assert values(specs["gateway"], "--router") == [router]
    assert values(specs["decode-1"], "--routers") == [router]


def test_an_edge_is_one_process_with_the_flags_of_two(ports: Iterator[int]) -> None:
    settings = UpSettings(model="m", edge=True, grace_ms=8_000, mesh=MeshSettings(secret="s" * 32))
    specs = named(plan(settings, ports, [0]))
    assert list(specs) == ["edge", "prefill-1", "decode-1"]
    edge = specs["edge"]
    assert edge.command[edge.command.index("serve") + 1] == "edge"
    parted = edge.command.index("--")
    router = ChildSpec("router", "router", edge.command[parted:])
    assert values(edge, "--grace-ms") == ["6000", "2000"]
    assert values(edge, "--router") == []
    assert values(specs["decode-1"], "--routers") == ["127.0.0.1:" + values(router, "--port")[0]]
    assert dict(edge.environ) == {
        "PDMESH_GATEWAY_MESH_SECRET": "s" * 32,
        "PDMESH_ROUTER_MESH_SECRET": "s" * 32,
    }


def test_every_worker_gets_all_adapters(ports: Iterator[int]) -> None:
    specs = named(plan(UpSettings(model="m", lora_adapter=("a=/a", "b=/b")), ports, [0]))
    for worker in ("prefill-1", "decode-1"):
        assert values(specs[worker], "--lora-adapter") == ["a=/a", "b=/b"]
    assert values(specs["gateway"], "--lora-adapter") == []


def test_the_grpc_api_is_next_to_the_rest_api(ports: Iterator[int]) -> None:
    def port(**settings: int) -> str:
        specs = named(plan(UpSettings(model="m", **settings), ports, [0]))
        return values(specs["gateway"], "--grpc-port")[0]

    assert port() == "8001"
    assert port(port=9000) == "9001"
    assert port(grpc_port=7000) == "7000"
    assert int(port(port=0)) > 8001


def test_spares_have_the_last_numbers_and_stand_by(ports: Iterator[int]) -> None:
    specs = named(plan(UpSettings(model="m", standby_prefill=1, standby_decode=2), ports, [0]))
    spares = [name for name, spec in specs.items() if "--standby" in spec.command]
    assert spares == ["prefill-2", "decode-2", "decode-3"]


def test_the_tiers_own_engine_arguments_come_last(ports: Iterator[int]) -> None:
    settings = UpSettings(
        model="m",
        both=EngineArguments(dtype="float32", enable_prefix_caching=False, engine_arg=("max-num-seqs=64",)),
        prefill_only=EngineArguments(max_num_batched_tokens=4096, dtype="half"),
    )
    specs = named(plan(settings, ports, [0]))
    own = ["dtype=half", "max-num-batched-tokens=4096"]
    common = ["dtype=float32", "enable-prefix-caching=false", "max-num-seqs=64"]
    assert values(specs["decode-1"], "--engine-arg") == common
    assert values(specs["prefill-1"], "--engine-arg") == [
        *common,
        *own,
    ]


def test_vllm_workers_get_their_own_cores_when_there_are_enough(ports: Iterator[int]) -> None:
    specs = named(plan(UpSettings(model="m"), ports, [4, 5]))
    assert values(specs["prefill-1"], "--cores") == ["4"]
    assert values(specs["decode-1"], "--cores") == ["5"]
    for settings in (UpSettings(model="m", decode=3), UpSettings(model="m", engine="sim")):
        assert values(named(plan(settings, ports, [0, 1]))["decode-1"], "--cores") == []


def test_shares_of_cores_are_equal_and_disjoint() -> None:
    assert share_cores([0, 1, 2, 3, 4], 2) == [(0, 1), (2, 3)]
    assert share_cores([0], 2) == [(), ()]
    assert share_cores([0], 0) == []


def test_grace_is_split_between_the_gateway_and_the_rest(ports: Iterator[int]) -> None:
    specs = named(plan(UpSettings(model="m", grace_ms=8_000), ports, [0]))
    assert values(specs["gateway"], "--grace-ms") == ["6000"]
    assert values(specs["decode-1"], "--grace-ms") == ["2000"]


def test_free_ports_are_below_the_ephemeral_range_and_differ() -> None:
    found = [port for port, _ in zip(free_ports(Random(1)), range(50), strict=False)]
    assert len(set(found)) == 50
    assert all(FIRST <= port <= LAST < 32_768 for port in found)


def test_two_that_look_for_ports_at_once_find_others_and_leave_them_free() -> None:
    first, second = free_ports(Random(1)), free_ports(Random(1))
    found = [next(ports) for _ in range(10) for ports in (first, second)]
    assert len(set(found)) == 20
    first.close()
    second.close()
    assert next(free_ports(Random(1))) == found[0]


def test_ports_that_were_given_out_long_ago_may_be_given_again() -> None:
    ports = free_ports(Random(1))
    found = [next(ports) for _ in range(LAST - FIRST + 100)]
    assert len(set(found)) < len(found)
    open_files = len(os.listdir("/proc/self/fd"))
    ports.close()
    assert 0 < open_files - len(os.listdir("/proc/self/fd")) <= CLAIMS_MAX + 1


def test_the_gateway_gets_the_meshs_store(ports: Iterator[int]) -> None:
    specs = named(plan(UpSettings(model="m", redis_url="redis://r:1"), ports, [0]))
    assert dict(specs["gateway"].environ)["PDMESH_GATEWAY_STORE"] == "redis://r:1"
    assert dict(specs["gateway"].environ)["PDMESH_GATEWAY_REDIS_URL"] == "redis://r:1"
    assert values(named(plan(UpSettings(model="m"), ports, [0]))["gateway"], "--store") == []


def test_parsers_reach_the_gateway(ports: Iterator[int]) -> None:
    settings = UpSettings(model="m", tool_call_parser="hermes", reasoning_parser="qwen3")
    specs = named(plan(settings, ports, [0, 1]))
    assert values(specs["gateway"], "--tool-call-parser") == ["hermes"]
    assert values(specs["gateway"], "--reasoning-parser") == ["qwen3"]
    assert not values(named(plan(UpSettings(model="m"), ports, [0, 1]))["gateway"], "--tool-call-parser")


def test_certificates_and_tenants_reach_those_who_need_them(ports: Iterator[int]) -> None:
    settings = UpSettings(
        model="m",
        tenants="t.toml",
        models_file="m.toml",
        tls=TlsSettings(cert="edge.pem", key="edge.key"),
        mesh=MeshSettings(tls_cert="m.pem", tls_key="m.key", tls_ca="ca.pem", mtls=True, secret_file="s"),
    )
    specs = named(plan(settings, ports, [0]))
    for spec in specs.values():
        assert values(spec, "--mesh-tls-ca") == ["ca.pem"]
        assert values(spec, "--mesh-secret-file") == ["s"]
        assert "--mesh-mtls" in spec.command
        assert "" not in spec.command
    assert values(specs["gateway"], "--tls-cert") == ["edge.pem"]
    assert values(specs["gateway"], "--tenants") == ["t.toml"]
    assert values(specs["gateway"], "--models-file") == ["m.toml"]
    assert not values(specs["router"], "--tls-cert")


def test_what_the_gateway_alone_is_told_reaches_it_and_it_understands(ports: Iterator[int]) -> None:
    settings = UpSettings(
        model="m",
        price=("a=1/1/1", "*=2/2/2"),
        usage_dir="/usage",
        store_failure="closed",
        jwt=JwtSettings(jwks="keys.json", issuer="i", audience=("x", "y"), clock_skew_ms=5),
        retrieval=RetrievalSettings(address="r:1", tokens_max=9),
    )
    specs = named(plan(settings, ports, [0]))
    parser = StrictParser(prog="gateway")
    add_flags(parser, Settings, "gateway")
    told = parse_flags(parser, _without_serve(specs["gateway"]))
    names = (
        "price",
        "usage_dir",
        "store_failure",
        "jwt_audience",
        "jwt_clock_skew_ms",
        "retrieval_tokens_max",
    )
    assert [told[name] for name in names] == [
        ["a=1/1/1", "*=2/2/2"],
        "/usage",
        "closed",
        ["x", "y"],
        "5",
        "9",
    ]
    assert "retrieval_timeout_ms" not in told
    assert not values(specs["router"], "--price")


def _without_serve(spec: ChildSpec) -> list[str]:
    """A service's own flags; the log level and Redis are for the process around it."""
    given = list(spec.command[spec.command.index("gateway") + 1 :])
    for flag in ("--log-level", "--redis-url"):
        if flag in given:
            del given[given.index(flag) : given.index(flag) + 2]
    return given


@pytest.mark.parametrize("edge", [False, True])
def test_a_secret_is_never_a_flag(ports: Iterator[int], edge: bool) -> None:
    secret, url, answers = "0123456789abcdef", "redis://:password@r:1", "fedcba9876543210"
    settings = UpSettings(
        model="m", mesh=MeshSettings(secret=secret), redis_url=url, answers_secret=answers, edge=edge
    )
    told = {
        "gateway": {"MESH_SECRET": secret, "REDIS_URL": url, "STORE": url, "ANSWERS_SECRET": answers},
        "router": {"MESH_SECRET": secret, "REDIS_URL": url, "STORE": url},
        "prefill": {"MESH_SECRET": secret, "REDIS_URL": url},
        "decode": {"MESH_SECRET": secret, "REDIS_URL": url},
    }
    for spec in plan(settings, ports, [0]):
        line = " ".join(spec.command)
        assert [hidden for hidden in (secret, "password", answers) if hidden in line] == []
        services = ("gateway", "router") if spec.service == "edge" else (spec.service,)
        wanted = {f"PDMESH_{s.upper()}_{n}": value for s in services for n, value in told[s].items()}
        assert dict(spec.environ) == wanted
