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
from collections.abc import Callable, Sequence
from typing import Any

from services.cli import configuration
from services.cli.parent import die_with_parent
from services.cli.startup import startup_unwrapped
from services.common.errors import BadSetting
from services.common.settings import StrictParser, unknown

SERVED = {
    "gateway": "the REST edge: tokens, text, streaming",
    "router": "owns every request's life: queues, placement, retries",
    "prefill": "a worker that runs prompts and hands their KV over",
    "decode": "a worker that takes KV over and generates",
}
LOG_LEVELS = ("debug", "info", "warning", "error")
THREAD_SWITCH_S = 0.0005
"""A busy engine thread would otherwise hold the interpreter for 5 ms at a time before the event loop runs."""


def run(arguments: Sequence[str]) -> int:
    """Run the named service until SIGTERM or SIGINT; raises `Startup` when it cannot start."""
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = [f"  {name:<9}{text}" for name, text in SERVED.items()]
        print("\n".join(["usage: pdmesh serve SERVICE [--help]", "", *lines]))
        return 0
    service, rest = arguments[0], arguments[1:]
    if service not in SERVED:
        raise unknown("service", service, SERVED)
    settings_class = importlib.import_module(f"services.{service}.settings").Settings
    settings, options = parse(service, settings_class, rest)
    if options["parent_pid"]:
        die_with_parent(options["parent_pid"])
    return run_process(service, settings, options)


def parse(service: str, settings_class: type[Any], arguments: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """The service's settings and the process's own options; raises `BadSetting`."""
    parser = StrictParser(prog=f"pdmesh serve {service}", description=f"Run {SERVED[service]}.")
    levels = ", ".join(LOG_LEVELS)
    parser.add_argument(
        "--log-level", metavar="TEXT", default="info", help=f"Least level logged, one of {levels} [info]"
    )
    # How `pdmesh up` learns that this process serves, and that it never outlives it.
    parser.add_argument("--ready-fd", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--parent-pid", type=int, default=0, help=argparse.SUPPRESS)
    settings, options = configuration.read(parser, settings_class, service, arguments)
    if options["log_level"] not in LOG_LEVELS:
        raise BadSetting(f"--log-level: {options['log_level']!r} is not one of {levels}")
    return settings, options


def run_process(service: str, settings: Any, options: dict[str, Any]) -> int:
    """Everything a process does around its service: event loop, signals, logs, metrics."""
    import uvloop

    from services.common.telemetry import configure_logging, serve_metrics

    configure_logging(service, options["log_level"])
    sys.setswitchinterval(THREAD_SWITCH_S)
    serve = importlib.import_module(f"services.{service}.main").serve
    with startup_unwrapped(), serve_metrics(settings.metrics_port):
        uvloop.run(until_stopped(serve, settings, options["ready_fd"]))
    return 0


async def until_stopped(serve: Callable[..., Any], settings: Any, ready_fd: int) -> None:
    """Run `serve` with signals wired to its stop event; a second signal ends the process at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await serve(settings, stop, lambda facts: on_ready(facts, ready_fd))


def on_ready(facts: dict[str, str], ready_fd: int) -> None:
    """Tell the parent, and keep what start-up left in memory out of every later collection."""
    gc.collect()
    gc.freeze()
    if ready_fd:
        with contextlib.suppress(BrokenPipeError), os.fdopen(ready_fd, "w") as pipe:
            pipe.write(json.dumps(facts) + "\n")
    else:
        print(json.dumps({"ready": facts}), flush=True)
