"""`pdmesh serve SERVICE`: one service, with all that belongs to a process and not to the service."""

import argparse
import asyncio
import contextlib
import gc
import importlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, make_dataclass, replace
from functools import partial
from typing import Any

from services.cli import configuration
from services.cli.parent import die_with_parent
from services.cli.presence_record import PresenceRecord
from services.cli.process_settings import ProcessSettings
from services.cli.startup import startup_unwrapped
from services.common.credentials import MeshSettings, TlsSettings
from services.common.domain.address import join_address
from services.common.errors import BadSetting
from services.common.settings import StrictParser, group, leaves, unknown
from services.common.store import open_store

SERVED = {
    "gateway": "the REST edge: tokens, text, streaming",
    "router": "owns every request's life: queues, placement, retries",
    "prefill": "a worker that runs prompts and hands their KV over",
    "decode": "a worker that takes KV over and generates",
    "retriever": "passages for prompts, in one SQLite file",
}
EDGE = "edge"
EDGE_TEXT = "gateway and router in one process: the gateway's flags, then --, then the router's"
EDGE_HELP = """\
usage: pdmesh serve edge [--check] [gateway's flags] [-- router's flags]

Runs gateway and router in one process. `pdmesh serve gateway --help` and `pdmesh serve router --help` list
the flags; their variables and tables of the configuration file count too. Those of the process and of the
mesh are the gateway's, and its --router has no meaning here."""
PROCESS_FLAGS = [leaf.flag for leaf in leaves(ProcessSettings)]
CHECK_HELP = (
    "say whether this could start, without starting it: checks settings, files, model, certificates and "
    "libraries, and asks neither Redis nor other processes; exit code 0, or 2 with the reason"
)
COLLECT_AFTER = (20_000, 20, 50)
"""After how many new containers the youngest are searched for cycles, and how often older ones are. Requests
make many containers and few cycles: by Python's own numbers the search is a twentieth of their cost."""
THREAD_SWITCH_S = 0.0005
"""A busy engine thread would otherwise hold the interpreter for 5 ms at a time before the event loop runs."""


def run(arguments: Sequence[str]) -> int:
    """Run the named service until SIGTERM or SIGINT; raises `Startup` when it cannot start."""
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = [f"  {name:<9}{text}" for name, text in {**SERVED, EDGE: EDGE_TEXT}.items()]
        print("\n".join(["usage: pdmesh serve SERVICE [--help]", "", *lines]))
        return 0
    service, rest = arguments[0], arguments[1:]
    if service == EDGE and not {"-h", "--help"}.isdisjoint(rest):
        print(EDGE_HELP)
        return 0
    if service not in (*SERVED, EDGE):
        raise unknown("service", service, (*SERVED, EDGE))
    settings, told = parse_edge(rest) if service == EDGE else parse_service(service, rest)
    if told["check"]:
        return check(service, settings)
    if told["parent_pid"]:
        die_with_parent(told["parent_pid"])
    return run_process(service, settings, told["ready_fd"])


def parse_service(service: str, arguments: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """`parse` with the service's own settings."""
    return parse(service, importlib.import_module(f"services.{service}.settings").Settings, arguments)


def parse_edge(arguments: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """The same of a gateway and a router in one process, each with its own flags, variables and table.

    What belongs to the process, and the mesh's settings where the router has none, are the gateway's.
    """
    at = arguments.index("--") if "--" in arguments else len(arguments)
    before, after = arguments[:at], arguments[at + 1 :]
    if any(word.partition("=")[0] == "--router" for word in before):
        raise BadSetting("--router: the router of an edge is in its own process")
    gateway, told = parse_service("gateway", before)
    router, last = parse_service("router", [*_file_flag(before), *after])
    if router.process not in (ProcessSettings(), gateway.process):
        raise BadSetting("settings of the process belong before the --: " + ", ".join(PROCESS_FLAGS))
    both = importlib.import_module("services.edge.main").Settings.of(gateway.service, router.service)
    return replace(gateway, service=both), {name: told[name] or last[name] for name in told}


def _file_flag(arguments: Sequence[str]) -> list[str]:
    """The flag that names the configuration file, with its value, if it is given."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word.partition("=")[0] == "--config":
            return [word] if "=" in word else [word, following]
    return []


def parse(service: str, settings_class: type[Any], arguments: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """The settings of process and service, and what else it is told; raises `BadSetting`."""
    return configuration.read(parser_of(service), with_process(settings_class), service, arguments)


def parser_of(service: str) -> StrictParser:
    """What `pdmesh serve SERVICE` takes besides settings."""
    parser = StrictParser(
        prog=f"pdmesh serve {service}", description=f"Runs the {service}: {SERVED[service]}."
    )
    parser.add_argument("--check", action="store_true", help=CHECK_HELP)
    # How `pdmesh up` learns that this process serves, and that it never outlives it.
    parser.add_argument("--ready-fd", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--parent-pid", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def with_process(settings_class: type[Any]) -> type[Any]:
    """A settings class that holds a service's settings beside the process's own."""
    parts = [("process", ProcessSettings), ("service", settings_class)]
    return make_dataclass("Served", [(name, kind, group(kind)) for name, kind in parts], frozen=True)


def check(service: str, settings: Any) -> int:
    """Look at all that the service needs of this host, without serving; raises the first `Startup` error."""
    with startup_unwrapped():
        asyncio.run(_check(service, settings))
    print(f"{service}: can start; settings, files and libraries are complete")
    return 0


async def _check(service: str, settings: Any) -> None:
    await open_store(settings.process.redis_url).close()
    await importlib.import_module(f"services.{service}.main").check(settings.service)


def run_process(service: str, settings: Any, ready_fd: int) -> int:
    """Everything a process does around its service: logs, event loop, signals, presence."""
    import uvloop
    from prometheus_client import REGISTRY

    from services.common import telemetry
    from services.common.descriptors import raise_limit

    waiting = telemetry.relay_output(partial(telemetry.dropped_line, service))
    REGISTRY.register(telemetry.OutputCollector(waiting))
    REGISTRY.register(telemetry.CertificateCollector(certificates_of(settings.service)))
    telemetry.configure_logging(service, settings.process.log_level)
    raise_limit()
    sys.setswitchinterval(THREAD_SWITCH_S)
    with startup_unwrapped():
        uvloop.run(until_stopped(service, settings, ready_fd))
    return 0


def groups_of(settings: Any) -> Iterator[Any]:
    """A settings object and all groups of settings inside it."""
    if is_dataclass(settings):
        yield settings
        for part in fields(settings):
            yield from groups_of(getattr(settings, part.name))


def certificates_of(settings: Any) -> Iterator[str]:
    """Files of the certificates that a process shows, "" for none, wherever they stand in its settings."""
    for group_of_settings in groups_of(settings):
        if isinstance(group_of_settings, TlsSettings):
            yield group_of_settings.cert
        elif isinstance(group_of_settings, MeshSettings):
            yield group_of_settings.tls_cert


async def until_stopped(service: str, settings: Any, ready_fd: int) -> None:
    """Serve with signals wired to the stop event; a second signal ends the process at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    # A forked engine process inherits the descriptor that signals are announced on; the SIGTERM that ends it
    # would look like a second one for us.
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    serve = importlib.import_module(f"services.{service}.main").serve
    async with PresenceRecord(service, settings.process.redis_url) as presence:

        def on_ready(facts: dict[str, str]) -> None:
            say_ready({**facts, **metrics_url(settings.service)}, ready_fd)
            presence.begin(facts)

        await serve(settings.service, stop, on_ready)


def metrics_url(settings: Any) -> dict[str, str]:
    """Where Prometheus finds a process's metrics, if it has a port for them."""
    for served in groups_of(settings):
        if port := getattr(served, "metrics_port", 0):
            return {"metrics": f"http://{join_address(served.host, port)}/metrics"}
    return {}


def say_ready(facts: dict[str, str], ready_fd: int) -> None:
    """Tell the parent, and keep what start-up left in memory out of every later collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    if ready_fd:
        with contextlib.suppress(BrokenPipeError), os.fdopen(ready_fd, "w") as pipe:
            pipe.write(json.dumps(facts) + "\n")
    else:
        print(json.dumps({"ready": facts}), flush=True)
