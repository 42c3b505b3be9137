"""Entry point: finds the command, and turns a `Startup` error into one line and exit code 2."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from services.common.errors import MeshError, Startup
from services.common.settings import unknown

OPERATOR_COMMANDS = {
    "fleet": "show workers, queues, the bottleneck and what to do about it",
    "scaling": "show how many workers each tier should have, and why",
    "doctor": "check everything, every prefill-decode pair included",
    "drain": "give a worker no new work",
    "undrain": "give it work again",
    "standby": "keep a worker loaded, without work",
    "activate": "give a standby worker work",
    "role": "change a worker's role, without losing a request",
    "threshold": "set the prompt length below which nothing is handed over",
    "dry-run": "tell where a request would go, and why",
    "forgive": "take quarantined prompts and suspended pairs again",
}
"""All are run by `services.cli.operator.commands`."""
PLANNER_COMMANDS = {
    "simulate": "play a load on a fleet that does not exist yet",
    "plan": "find the cheapest fleet that keeps a promise",
    "calibrate": "learn how long a running mesh's engines take",
    "advise": "tell what a mesh should change, by playing its log",
}
"""Each is a module of `services.cli.planner`."""
COMMANDS = {
    "up": "start a whole mesh on this host",
    "serve": "run one service: gateway, router, both as edge, prefill, decode or retriever",
    "chat": "talk to a mesh in the terminal",
    "ingest": "give documents to a retriever",
    "demo": "start a small mesh, ask it a question, show answer and receipt",
    **OPERATOR_COMMANDS,
    **PLANNER_COMMANDS,
    "requests": "find requests in the request log: slow ones, failed ones, a tenant's",
    "why": "tell one request's story: where it waited, which workers ran it, why it failed",
    "usage": "show what tenants used, by day and model",
    "key": "make an API key with its line for the tenants file, or a mesh's secret",
    "version": "print the version",
}
"""The others are each a module of this package with `run(arguments) -> exit code`; all are imported only when
asked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 when something could not start, 1 when it could not go on."""
    try:
        return dispatch(sys.argv[1:] if arguments is None else arguments)
    except Startup as error:
        print(f"pdmesh: {error.reason}: {error.message}", file=sys.stderr)
        return 2
    except MeshError as error:  # served, and cannot go on: an engine has died
        print(f"pdmesh: {error.reason}: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has left, `pdmesh chat hi | head -1`
        close_quietly(sys.stdout)
        return 141


def dispatch(arguments: Sequence[str]) -> int:
    """Run the named command; raises `BadSetting` for one that does not exist."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        arguments = ["version"]
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        raise unknown("flag" if name.startswith("-") else "command", name, COMMANDS)
    if name in OPERATOR_COMMANDS:
        return int(importlib.import_module("services.cli.operator.commands").run(name, rest))
    package = "services.cli.planner" if name in PLANNER_COMMANDS else "services.cli"
    return int(importlib.import_module(f"{package}.{name}").run(rest))


def usage() -> str:
    """What `pdmesh --help` prints."""
    lines = [f"  {name:<10}{text}" for name, text in COMMANDS.items()]
    return "\n".join(["usage: pdmesh COMMAND [--help]", "", *lines])


def close_quietly(stream: TextIO) -> None:
    """Point a broken stream's descriptor elsewhere, so that the interpreter's last flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
