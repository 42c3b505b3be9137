"""Imports point one way, and heavy libraries stay where they are adapted."""

import ast
import sys
from collections.abc import Iterator

from tests.tidy.source import Source

CLIENT = "pdmesh/client"
"""The library for programs that call a mesh; the rest of `pdmesh` is generated."""
SERVICES = ("gateway", "router", "worker", "prefill", "decode", "retriever", "cli", "edge", "planner")
COMPOSED = {
    "services/edge": ("gateway", "router"),
    "services/prefill": ("worker",),
    "services/decode": ("worker",),
    "services/planner": ("worker", "router"),
    "services/cli": ("worker",),
    "services/cli/planner": ("worker", "planner"),
}
"""A package that is built on others, and which: they know nothing of it."""
CORE_ONLY = "services/planner"
"""A package that plays the router's core, and knows nothing of the shell around it."""

ROOMS = {
    "services/gateway/call": ("rest", "grpc", "http"),
    "services/gateway/links": ("rest", "grpc", "http", "call"),
    "services/gateway/models": ("rest", "grpc", "http"),
    "services/gateway/tenants": ("rest", "grpc", "http"),
    "services/gateway/accounts/quota": ("rest", "grpc", "http"),
    "services/gateway/retrieval": ("rest", "grpc", "http"),
    "services/gateway/http": ("rest", "grpc", "call", "links", "models", "accounts", "idempotency"),
}
"""A room of the gateway: the rooms that it knows nothing of."""

CONFINED = {
    "grpc": (
        CLIENT,
        "services/common/rpc",
        "services/worker/attachment.py",
        "services/cli/operator/client.py",
        "services/gateway/grpc",
        "services/gateway/retrieval/client.py",
        "services/gateway/links/router_session.py",
        "services/router/gateways.py",
        "services/router/keda.py",
        "services/router/operators.py",
        "services/router/workers.py",
        "services/retriever/servicer.py",
        "services/cli/ingest.py",
    ),
    "grpc_health": ("services/common/rpc",),
    "grpc_reflection": ("services/common/rpc",),
    "grpc_status": (CLIENT, "services/common/rpc"),
    "vllm": ("services/worker/engine/vllm", "services/gateway/models/parsing/vllm_parsers.py"),
    "torch": ("services/worker/engine/vllm",),
    "nixl": ("services/worker/engine/vllm",),
    "fastokens": ("services/gateway/models/rendering/encoder.py",),
    "transformers": ("services/worker/engine/vllm",),
    "zmq": ("services/worker/engine/vllm",),
    "jwt": ("services/gateway/tenants",),
    "redis": ("services/common/store",),
    "apsw": ("services/retriever/vector_store.py",),
    "sqlite_vec": ("services/retriever/vector_store.py",),
    "uvloop": ("services/cli/serve.py",),
    "opentelemetry": ("services/gateway/tracing/sending.py",),
    "aiconfigurator_core": ("services/planner/silicon.py",),
    "matplotlib": ("services/planner/results/plots.py",),
}
"""Library: the only places that may import it."""

STANDARD_LIBRARY_ONLY = {
    "services/common/domain": ("services.common.domain",),
    "services/common/errors": ("services.common.errors",),
    "services/common/clock": ("services.common.clock",),
    "services/common/limits": ("services.common.limits",),
    "services/router/core": (
        "services.common.clock",
        "services.common.domain",
        "services.common.errors",
        "services.common.limits",
        "services.router.core",
    ),
}
"""Package: the packages of ours that it may use beside the standard library."""


def imported(source: Source) -> Iterator[tuple[int, str]]:
    """Line and full name of each module that a file imports, at the top or inside a function."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def violations(source: Source) -> list[str]:
    """One line for each import that points the wrong way."""
    wrong = []
    for line, module in imported(source):
        if reason := _forbidden(source, module):
            wrong.append(f"{source.path}:{line}: {module}: {reason}")
    return wrong


def _forbidden(source: Source, module: str) -> str:
    top = module.partition(".")[0]
    if top in CONFINED and not source.is_below(*CONFINED[top]):
        return f"only in {', '.join(CONFINED[top])}"
    if top in ("tests", "tools", "pytest"):
        return "services do not know their tests and tools"
    if source.is_below(CLIENT) and module.startswith("services.") and not _is_common(module):
        return "the client uses services.common and no service"
    if (
        module.startswith("pdmesh.client")
        and source.is_below("services")
        and not source.is_below("services/cli")
    ):
        return "services do not know their clients"
    if other := _other_service(source, module):
        return f"a service imports services.common, and others only where it is built on them ({other})"
    if room := _other_room(source, module):
        return f"this room knows nothing of {room}"
    return _beyond_standard_library(source, module)


def _other_room(source: Source, module: str) -> str:
    for room, others in ROOMS.items():
        house = room.split("/")[1]
        if not source.is_below(room):
            continue
        for other in others:
            if f"{module}.".startswith(f"services.{house}.{other}."):
                return other
    return ""


def _is_common(module: str) -> bool:
    return module == "services.common" or module.startswith("services.common.")


def _other_service(source: Source, module: str) -> str:
    parts = module.split(".")
    if parts[0] != "services" or len(parts) < 2 or parts[1] not in SERVICES:
        return ""
    if source.is_below(CORE_ONLY) and parts[1] == "router" and parts[2:3] != ["core"]:
        return "the planner uses services.router.core alone"
    composing = any(source.is_below(package) and parts[1] in them for package, them in COMPOSED.items())
    return "" if composing or source.is_below(f"services/{parts[1]}") else parts[1]


def _beyond_standard_library(source: Source, module: str) -> str:
    for package, ours in STANDARD_LIBRARY_ONLY.items():
        if not source.is_below(package) or module.partition(".")[0] in sys.stdlib_module_names:
            continue
        if not any(module == own or module.startswith(own + ".") for own in ours):
            return f"{package} uses the standard library and {', '.join(ours)} only"
    return ""
