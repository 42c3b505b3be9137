"""Functions fit a screen, files a sitting."""

import ast
import statistics
from collections.abc import Iterable, Iterator

from tests.tidy.source import Source

FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MEDIAN = 10
FILE_LINES_MAX = 500
FILE_LINES_USUAL = 300
LONG_FILES_SHARE_MAX = 0.02

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(source: Source) -> Iterator[Function]:
    """Every function of a file, methods and inner ones included."""
    for node in ast.walk(source.tree):
        if isinstance(node, Function):
            yield node


def code_lines(function: Function) -> int:
    """Lines from `def` to the end, docstring not counted."""
    length = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        length -= (first.end_lineno or first.lineno) - first.lineno + 1
    return length


def violations(source: Source) -> list[str]:
    """One line for each function or file that is too long."""
    wrong = [
        f"{source.path}:{f.lineno}: {f.name} has {code_lines(f)} lines, over {FUNCTION_LINES_MAX}: split it"
        for f in functions(source)
        if code_lines(f) > FUNCTION_LINES_MAX
    ]
    if len(source.lines) > FILE_LINES_MAX:
        wrong.append(f"{source.path}: {len(source.lines)} lines, at most {FILE_LINES_MAX}: one noun per file")
    return wrong


def overall(all_sources: Iterable[Source]) -> list[str]:
    """One line for each measure of the whole that is out of bounds."""
    everything = list(all_sources)
    median = statistics.median(code_lines(f) for source in everything for f in functions(source))
    long = [source.path for source in everything if len(source.lines) > FILE_LINES_USUAL]
    wrong = []
    if median >= FUNCTION_LINES_MEDIAN:
        wrong.append(f"the median function has {median} lines, should be under {FUNCTION_LINES_MEDIAN}")
    if len(long) > LONG_FILES_SHARE_MAX * len(everything):
        wrong.append(f"more than {LONG_FILES_SHARE_MAX:.0%} of files over {FILE_LINES_USUAL} lines: {long}")
    return wrong
