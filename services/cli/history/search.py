"""`pdmesh requests`: finds requests in the request log."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.cli import configuration
from services.cli.history.archive import open_archive, seconds_of
from services.cli.table import table
from services.common.errors import BadSetting
from services.common.settings import StrictParser, setting

DESCRIPTION = """\
Find requests in the request log: the newest, or the slowest. `--sql` asks anything of the table `requests`,
whose columns are those of `--json`."""
HEAD = ("ended", "request", "tenant", "model", "status", "took s", "ttft ms", "queue ms", "path", "why not")
SLOW_SHARE = 0.05
EQUAL = ("tenant", "model", "path", "error", "status")
LIMIT = 20


@dataclass(frozen=True, slots=True)
class RequestsSettings:
    """Where to look."""

    request_log_dir: str = setting("", "Directory of the request log, as the gateway was given it")


def parser_of() -> StrictParser:
    """The command's parser, without its settings."""
    parser = StrictParser(prog="pdmesh requests", description=DESCRIPTION)
    parser.add_argument("--since", default="1h", metavar="TIME", help="No older than this, as in 15m (1h)")
    parser.add_argument("--slow", action="store_true", help="The slowest 5 %%, slowest first")
    parser.add_argument("--failed", action="store_true", help="Those that got no answer")
    parser.add_argument("--tenant", metavar="NAME", help="This tenant only")
    parser.add_argument("--model", metavar="NAME", help="This model only")
    parser.add_argument("--path", choices=("local", "disaggregated"), help="This way only")
    parser.add_argument("--error", metavar="REASON", help="This reason only, as in kv_memory_full")
    parser.add_argument("--status", type=int, metavar="CODE", help="This status only")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"At most so many ({LIMIT})")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="Print one JSON object per line, with all columns")
    form.add_argument("--sql", metavar="QUERY", help="Print what this query gives, one JSON object per line")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print what was found; 1 where nothing was."""
    settings, options = configuration.read(parser_of(), RequestsSettings, "requests", arguments)
    archive = open_archive(settings.request_log_dir, seconds_of(options["since"], "since"))
    query = options.get("sql")
    found = _asked(archive, query) if query else find(archive, options)
    if not found:
        print("no such request")
        return 1
    as_json = options["json"] or query
    print("\n".join(map(json.dumps, found) if as_json else table(HEAD, [_row(record) for record in found])))
    return 0


def find(archive: sqlite3.Connection, options: dict[str, Any]) -> list[dict[str, Any]]:
    """The records that the options ask for, newest or slowest first."""
    wanted = {name: options[name] for name in EQUAL if options.get(name) is not None}
    conditions = [f"{name} = :{name}" for name in wanted]
    if options.get("failed"):
        conditions.append("error IS NOT NULL")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    limit = options.get("limit") or LIMIT
    if options.get("slow"):
        (count,) = archive.execute(f"SELECT count(*) FROM requests {where}", wanted).fetchone()
        limit = min(limit, max(1, int(count * SLOW_SHARE)))
    order = "took_ms DESC" if options.get("slow") else "time DESC"
    query = f"SELECT * FROM requests {where} ORDER BY {order} LIMIT :limit"
    return [dict(row) for row in archive.execute(query, {**wanted, "limit": limit})]


def _asked(archive: sqlite3.Connection, query: str) -> list[dict[str, Any]]:
    try:
        return [dict(row) for row in archive.execute(query)]
    except sqlite3.Error as error:
        raise BadSetting(f"--sql: {error}") from None


def _row(record: dict[str, Any]) -> tuple[object, ...]:
    return (
        *((record["time"] or "")[11:23], record["request_id"], record["tenant"] or "", record["model"] or ""),
        *(record["status"], round((record["took_ms"] or 0.0) / 1e3, 2), round(record["ttft_ms"] or 0.0, 1)),
        *(round(record["queue_ms"] or 0.0, 1), record["path"] or "", record["error"] or ""),
    )
