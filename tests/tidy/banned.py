"""Calls and statements that have a better replacement here."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tests.tidy.source import Source


@dataclass(frozen=True)
class Ban:
    """A call that is banned outside some places."""

    call: str
    replacement: str
    allowed: tuple[str, ...] = ()


TASK_OWNERS = (
    "services/cli/presence_record.py",  # cancelled and awaited in __aexit__
    "services/worker/engine",  # engines own their loop; close() awaits it
    "services/common/rpc/head.py",  # awaited, even by a caller that is cancelled
    "services/worker/process.py",  # raced against stop, cancelled and awaited
    "services/router/main.py",  # cancelled in finally
)
CPU_CLOCKS = ("services/common/clock", "services/worker/engine/vllm")
"""vLLM's engine process shares deadlines with ours through the operating system's clock."""

BANS = (
    Ban("print", "a log line, or services.cli.output", ("services/cli",)),
    Ban("asyncio.create_task", "a TaskGroup's create_task", TASK_OWNERS),
    Ban("asyncio.ensure_future", "a TaskGroup's create_task"),
    Ban("get_running_loop().create_task", "a TaskGroup's create_task", TASK_OWNERS),
    Ban("asyncio.wait_for", "asyncio.timeout, which does not lose a result to its own timeout"),
    Ban("asyncio.get_event_loop", "asyncio.get_running_loop"),
    Ban("time.time", "a Clock that is passed in", ("services/gateway",)),  # `created` of an answer
    Ban("time.monotonic", "a Clock that is passed in", CPU_CLOCKS),
    Ban("time.perf_counter", "a Clock that is passed in", CPU_CLOCKS),
    Ban("time.sleep", "asyncio.sleep", CPU_CLOCKS),
    Ban("datetime.utcnow", "datetime.now(UTC)"),
    Ban("random.random", "a random.Random that is passed in"),
    Ban("random.choice", "a random.Random that is passed in"),
    Ban("random.shuffle", "a random.Random that is passed in"),
    Ban("os.system", "asyncio.create_subprocess_exec"),
    Ban("eval", "json, or a parser"),
    Ban("exec", "an import"),
    Ban("pickle.loads", "protobuf, or json"),
    Ban("sys.exit", "a return value of main, or raising a Startup error", ("services/cli/__main__.py",)),
    Ban("context.set_code", "raising an error of services.common.errors; rpc translates it"),
    Ban("context.set_details", "raising an error of services.common.errors; rpc translates it"),
)


def violations(source: Source) -> list[str]:
    """One line for each use of what is banned."""
    return [f"{source.path}:{line}: {what}" for line, what in sorted(_found(source))]


def _found(source: Source) -> Iterator[tuple[int, str]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            yield from _banned_call(source, node)
        elif isinstance(node, ast.Assert):
            yield node.lineno, "assert vanishes under -O: raise an error of services.common.errors"
        elif isinstance(node, ast.ExceptHandler) and _catches_all(node) and not _is_justified(source, node):
            yield node.lineno, "a broad except needs a `raise`, or a comment on its line that says why"
        elif isinstance(node, ast.Global):
            yield node.lineno, "no module globals: pass an object"


def _banned_call(source: Source, node: ast.Call) -> Iterator[tuple[int, str]]:
    name = ast.unparse(node.func)
    for ban in BANS:
        is_it = name == ban.call or name.endswith("." + ban.call)
        if is_it and not source.is_below(*ban.allowed):
            yield node.lineno, f"{ban.call}: use {ban.replacement}"


def _catches_all(handler: ast.ExceptHandler) -> bool:
    names = ast.unparse(handler.type) if handler.type else "BaseException"
    return bool({"Exception", "BaseException"} & set(names.strip("()").replace(" ", "").split(",")))


def _is_justified(source: Source, handler: ast.ExceptHandler) -> bool:
    raises = any(isinstance(node, ast.Raise) for node in ast.walk(handler))
    return raises or "#" in source.lines[handler.lineno - 1]
