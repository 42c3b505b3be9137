"""Which processes make up a mesh, and with what arguments: a pure function of the settings."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from services.cli.cores import share_cores
from services.cli.up_settings import UpSettings

DRAIN_ORDER = (("gateway", "edge"), ("prefill", "decode"), ("router",))
"""Services in the order in which a mesh stops: no new requests, then the workers, then their owner."""
LOCAL = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One process to run and keep running."""

    name: str
    service: str
    command: tuple[str, ...]
    """Program and arguments; `Child` adds the two flags by which it keeps in touch."""
    environ: tuple[tuple[str, str], ...] = ()
    """Variables beside our own: what must not be seen in a list of processes."""


def plan(settings: UpSettings, ports: Iterator[int], cores: Sequence[int]) -> list[ChildSpec]:
    """The mesh's processes. Ports are fixed here, so that a restarted process is found where it was."""
    routers = [f"{LOCAL}:{next(ports)}" for _ in range(settings.routers)]
    specs = [*_workers(settings, routers, ports, cores)]
    if settings.edge:
        specs.insert(0, _edge(settings, routers[0], ports))
    else:
        specs[:0] = _routers(settings, routers, ports)
        specs.append(_gateway(settings, routers, ports))
    return [replace(spec, environ=_environ(spec.service, settings)) for spec in specs]


def router_addresses(specs: Sequence[ChildSpec]) -> list[str]:
    """HOST:PORT of each router of a mesh."""
    worker = next(spec for spec in specs if "--routers" in spec.command)
    return worker.command[worker.command.index("--routers") + 1].split(",")


def _environ(service: str, settings: UpSettings) -> tuple[tuple[str, str], ...]:
    """What only the process itself is to know: flags are in every list of processes."""
    services = ("gateway", "router") if service == "edge" else (service,)
    return tuple(
        (f"PDMESH_{name}_{variable}".upper(), value)
        for name in services
        for variable, value in _secrets(name, settings)
        if value
    )


def _secrets(service: str, settings: UpSettings) -> Iterator[tuple[str, str]]:
    yield "mesh_secret", settings.mesh.secret
    yield "redis_url", settings.redis_url
    if service in ("gateway", "router"):
        yield "store", settings.redis_url
    if service == "gateway":
        yield "answers_secret", settings.answers_secret


def _routers(settings: UpSettings, addresses: Sequence[str], ports: Iterator[int]) -> Iterator[ChildSpec]:
    """The first is called `router`, others have a number."""
    for number, address in enumerate(addresses, 1):
        name = "router" if number == 1 else f"router-{number}"
        own = (*_router_flags(settings, name, address), *_metrics(ports))
        yield ChildSpec(name, "router", _command("router", own))


def _gateway(settings: UpSettings, routers: Sequence[str], ports: Iterator[int]) -> ChildSpec:
    own = (*_gateway_flags(settings, ports), *_each("--router", routers))
    return ChildSpec("gateway", "gateway", _command("gateway", own))


def _edge(settings: UpSettings, router: str, ports: Iterator[int]) -> ChildSpec:
    """Both in one process."""
    own = (*_gateway_flags(settings, ports), "--", *_router_flags(settings, "router", router))
    return ChildSpec("edge", "edge", _command("edge", own))


def _router_flags(settings: UpSettings, name: str, address: str) -> tuple[str, ...]:
    shared = _shared(settings, _rest_grace_ms(settings))
    return (*_listen(address), *shared, "--router-id", name, *_scaling(settings))


def _gateway_flags(settings: UpSettings, ports: Iterator[int]) -> tuple[str, ...]:
    address = f"{settings.host}:{settings.port or next(ports)}"
    grace_ms = settings.grace_ms - _rest_grace_ms(settings)
    listen = (*_listen(address), "--grpc-port", str(_grpc_port(settings) or next(ports)))
    shared = (*_shared(settings, grace_ms), *_model(settings))
    return (*listen, *shared, *_public(settings))


def _scaling(settings: UpSettings) -> Iterator[str]:
    if settings.autoscale:
        yield "--autoscale"
    for role in ("prefill", "decode"):
        yield from settings.scaling(role).flags(role)


def _public(settings: UpSettings) -> Iterator[str]:
    """What only the gateway is told."""
    given = {
        "--tenants": settings.tenants,
        "--models-file": settings.models_file,
        "--tool-call-parser": settings.tool_call_parser,
        "--reasoning-parser": settings.reasoning_parser,
        "--usage-dir": settings.usage_dir,
        "--request-log-dir": settings.request_log_dir,
        "--store-failure": settings.store_failure,
    }
    for flag, value in given.items():
        if value:
            yield from (flag, value)
    yield from _each("--price", settings.price)
    for prefix in ("tls", "jwt", "retrieval"):
        yield from _passed_on(getattr(settings, prefix), prefix)


def _grpc_port(settings: UpSettings) -> int:
    """0 where any free one will do."""
    if settings.grpc_port is not None:
        return settings.grpc_port
    return settings.port + 1 if settings.port else 0


def _workers(
    settings: UpSettings, routers: Sequence[str], ports: Iterator[int], cores: Sequence[int]
) -> Iterator[ChildSpec]:
    workers = [
        *_tier("prefill", settings.prefill, settings.standby("prefill")),
        *_tier("decode", settings.decode, settings.standby("decode")),
    ]
    # Where workers may be added later, shares are kept for them.
    for (role, name, standby), share in zip(workers, share_cores(cores, settings.workers_most), strict=False):
        arguments = (
            *_listen(f"{LOCAL}:{next(ports)}"),
            *_metrics(ports),
            *_shared(settings, _rest_grace_ms(settings)),
            *("--routers", ",".join(routers), "--worker-id", name, "--engine", settings.engine),
            *_model(settings),
            *_each("--lora-adapter", settings.lora_adapter),
            *(("--standby",) if standby else ()),
            *(("--cores", ",".join(map(str, share))) if share and settings.engine == "vllm" else ()),
            *_each("--engine-arg", settings.engine_args(role)),
        )
        yield ChildSpec(name, role, _command(role, arguments))


def _each(flag: str, values: Sequence[str]) -> Iterator[str]:
    """A flag that is given once for each value."""
    return (part for value in values for part in (flag, value))


def _tier(role: str, serving: int, standby: int) -> list[tuple[str, str, bool]]:
    """Role, name and whether it stands by, of each worker; spares have the last numbers."""
    return [(role, f"{role}-{i + 1}", i >= serving) for i in range(serving + standby)]


def _rest_grace_ms(settings: UpSettings) -> int:
    """A quarter of the grace time is kept for what stops after the gateway."""
    return settings.grace_ms // 4


def _command(service: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
    return (sys.executable, "-m", "services.cli", "serve", service, *arguments)


def _metrics(ports: Iterator[int]) -> tuple[str, str]:
    """The gateway, and with it an edge, shows its metrics beside its API; others need a port for them."""
    return ("--metrics-port", str(next(ports)))


def _listen(address: str) -> tuple[str, ...]:
    host, _, port = address.rpartition(":")
    return ("--host", host, "--port", port)


def _shared(settings: UpSettings, grace_ms: int) -> tuple[str, ...]:
    mesh = _passed_on(settings.mesh, "mesh")
    return ("--grace-ms", str(grace_ms), "--log-level", settings.log_level, *mesh)


def _passed_on(settings: Any, prefix: str) -> Iterator[str]:
    """The flags of a group of settings that differ from their defaults; secrets do not travel as flags."""
    for field in fields(settings):
        value, flag = getattr(settings, field.name), f"--{prefix}-{field.name.replace('_', '-')}"
        if value == field.default or field.name == "secret":
            continue
        if value is True:
            yield flag
        else:
            yield from _each(flag, value if isinstance(value, tuple) else (str(value),))


def _model(settings: UpSettings) -> tuple[str, ...]:
    name = ("--served-model-name", settings.served_model_name) if settings.served_model_name else ()
    return ("--model", settings.model, *name)
