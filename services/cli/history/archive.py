"""All lines of a request log's directory, in a table that SQL can ask."""

import gzip
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from services.cli.history.record import COLUMNS, record_of
from services.common.errors import BadSetting

PATTERN = "requests-*.jsonl*"
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds_of(text: str, flag: str) -> float:
    """Seconds of `90s`, `15m`, `1h` or `2d`; raises `BadSetting`."""
    number, unit = text[:-1], text[-1:]
    try:
        return float(number) * UNITS[unit]
    except (ValueError, KeyError):
        raise BadSetting(f"--{flag}: {text!r} is no time; write 90s, 15m, 1h or 2d") from None


def open_archive(directory: str, since_s: float | None = None) -> sqlite3.Connection:
    """A table `requests` in memory with what ended in the last `since_s` seconds; raises `BadSetting`.

    Rows are `sqlite3.Row`s. Files that the gateway moves away meanwhile are passed over.
    """
    if not directory:
        raise BadSetting("--request-log-dir is needed: the directory that the gateway was given")
    folder = Path(directory)
    if not folder.is_dir():
        raise BadSetting(f"--request-log-dir: {directory} is no directory")
    table = sqlite3.connect(":memory:")
    table.row_factory = sqlite3.Row
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    table.execute(f"CREATE TABLE requests ({columns})")
    start = "" if since_s is None else _ago(since_s)
    values = ", ".join(f":{name}" for name in COLUMNS)
    rows = (found for line in _lines(folder) if (found := record_of(line)) and found["time"] >= start)
    table.executemany(f"INSERT INTO requests VALUES ({values})", rows)
    return table


def _lines(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob(PATTERN)):
        opened = gzip.open if path.suffix == ".gz" else open
        try:
            with opened(path, "rt", encoding="utf-8", errors="replace") as file:
                yield from file
        except (FileNotFoundError, EOFError):
            continue


def _ago(seconds: float) -> str:
    at = datetime.now(UTC) - timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
