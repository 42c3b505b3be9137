"""Traces of real load: when requests came, and how long their prompts and answers were.

Two published forms are read. CSV with a head line: `TIMESTAMP,ContextTokens,GeneratedTokens`, the time as a
date or as seconds. JSON lines: `timestamp` in milliseconds, `input_length`, `output_length`, and perhaps
`hash_ids`, names of the prompt's pieces of 512 tokens, of which equal ones are equal text.
"""

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from services.common.errors import BadSetting
from services.planner.load.ask import Ask
from services.planner.load.lengths import TOKENS_MAX

Timed = tuple[float, Ask]
"""Milliseconds from the first request, and the request."""
REQUESTS_MAX = 5_000_000
CSV_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def read_trace(path: Path, flag: str = "--load") -> list[Timed]:
    """A trace from its beginning; raises `BadSetting` with file and line for one that is not whole."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{flag}: cannot read the trace {path}: {error}") from None
    rows = _csv(text, path, flag) if text.startswith("TIMESTAMP") else _json_lines(text, path, flag)
    requests: list[Timed] = []
    begin_ms = last_ms = None
    for line, at_ms, ask in rows:
        where = f"{flag}: {path}:{line}"
        if last_ms is not None and at_ms < last_ms:
            raise BadSetting(f"{where}: earlier than the line before it; sort the trace by time")
        if not (1 <= ask.prompt_tokens <= TOKENS_MAX and 0 <= ask.answer_tokens <= TOKENS_MAX):
            raise BadSetting(f"{where}: {ask.prompt_tokens} and {ask.answer_tokens} are no tokens in and out")
        if len(requests) >= REQUESTS_MAX:
            raise BadSetting(f"{where}: a trace of more than {REQUESTS_MAX:,} requests")
        begin_ms = at_ms if begin_ms is None else begin_ms
        last_ms = at_ms
        requests.append((at_ms - begin_ms, ask))
    if not requests:
        raise BadSetting(f"{flag}: the trace {path} has no request")
    return requests


def _csv(text: str, path: Path, flag: str) -> Iterator[tuple[int, float, Ask]]:
    reader = csv.DictReader(io.StringIO(text))
    missing = set(CSV_COLUMNS) - set(reader.fieldnames or ())
    if missing:
        raise BadSetting(f"{flag}: {path} lacks the column {sorted(missing)[0]}")
    for row in reader:
        line = reader.line_num
        try:
            ask = Ask(int(row["ContextTokens"]), max(1, int(row["GeneratedTokens"])))
            yield line, _time_ms(row["TIMESTAMP"]), ask
        except (TypeError, ValueError):
            raise BadSetting(f"{flag}: {path}:{line}: half a line, or no numbers in it: {row}") from None


def _time_ms(text: str) -> float:
    try:
        return float(text) * 1e3
    except ValueError:
        # Seven digits of a second are one more than the library takes.
        return datetime.fromisoformat(text[:26]).timestamp() * 1e3


def _json_lines(text: str, path: Path, flag: str) -> Iterator[tuple[int, float, Ask]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            pieces = tuple(int(piece) for piece in row.get("hash_ids", ()))
            ask = Ask(int(row["input_length"]), max(1, int(row["output_length"])), pieces)
            yield number, float(row["timestamp"]), ask
        except (AttributeError, KeyError, TypeError, ValueError):
            shown = line if len(line) <= 80 else line[:80] + "..."
            raise BadSetting(f"{flag}: {path}:{number}: half a line, or no request: {shown}") from None
