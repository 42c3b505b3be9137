"""`pdmesh usage`: what tenants used, by day and model."""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from services.cli import configuration
from services.cli.access import Access
from services.cli.chat import is_http, say
from services.cli.mesh_client import get_json
from services.cli.table import table
from services.common.errors import MeshError
from services.common.settings import StrictParser, group, setting

DESCRIPTION = """\
Show what tenants used of every model: today's use, or that of the days asked for (UTC), and what is spent of
tenants' budgets for the present day and month. Where there are tenants, the API key of one with is_admin is
needed."""
HEAD = (
    *("day", "tenant", "model", "requests", "prompt tokens", "cached", "generated tokens"),
    *("KV token-seconds", "cost"),
)
COLUMNS = (
    *("day", "tenant", "model", "requests", "prompt_tokens", "cached_tokens", "generated_tokens"),
    *("kv_seconds", "cost"),
)
BUDGET_HEAD = ("tenant", "budget", "for", "spent", "of", "share", "resets at")
BUDGET_COLUMNS = (
    *("tenant", "period", "current", "limit", "spent", "spent_share", "warns_at"),
    "resets_at",
)
FILTERS = ("day", "from", "to", "tenant")
ANONYMOUS = "(anonymous)"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class UsageSettings:
    """Whom to ask."""

    url: str = setting("http://127.0.0.1:8000", "The mesh's REST API")
    access: Access = group(Access)

    def __post_init__(self) -> None:
        if not is_http(self.url):
            raise ValueError(f"--url: {self.url!r} is no http:// or https:// address")


def parser_of() -> StrictParser:
    """The command's parser, without its settings."""
    parser = StrictParser(prog="pdmesh usage", description=DESCRIPTION)
    parser.add_argument("--day", metavar="DATE", help="This day only, as in 2026-01-31")
    parser.add_argument("--from", metavar="DATE", help="From this day on")
    parser.add_argument("--to", metavar="DATE", help="To this day, which counts too; today where not set")
    parser.add_argument("--tenant", metavar="NAME", help="This tenant only")
    parser.add_argument("--budgets", action="store_true", help="Print the budgets alone")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="Print the rows as JSON")
    form.add_argument("--csv", action="store_true", help="Print the rows as CSV")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the rows; 1 with one line when the mesh does not answer or refuses."""
    settings, options = configuration.read(parser_of(), UsageSettings, "usage", arguments)
    asked = {name: options[name] for name in FILTERS if options.get(name) is not None}
    try:
        told = get_json(f"{settings.url}/admin/usage?{urlencode(asked)}", settings.access)
    except MeshError as error:
        say(error)
        return 1
    budgets: Sequence[Row] = told.get("budgets", ())
    rows, columns = (budgets, BUDGET_COLUMNS) if options["budgets"] else (told["data"], COLUMNS)
    if options["json"]:
        print(json.dumps(rows))
    elif options["csv"]:
        print_csv(rows, columns)
    else:
        parts = [] if options["budgets"] else [lines(rows)]
        parts += [budget_lines(budgets)] if budgets or options["budgets"] else []
        print("\n\n".join("\n".join(part) for part in parts))
    return 0


def lines(rows: Sequence[Row]) -> list[str]:
    """The rows for people, with their sum below."""
    if not rows:
        return ["nothing was used"]
    cells = [tuple(_shown(row, column) for column in COLUMNS) for row in rows]
    if len(rows) > 1:
        sums = {column: sum(row[column] for row in rows) for column in COLUMNS[3:]}
        total = {"day": "all", "tenant": "", "model": "", **sums}
        cells.append(tuple(_shown(total, column) if total[column] != "" else "" for column in COLUMNS))
    return table(HEAD, cells)


def budget_lines(budgets: Sequence[Row]) -> list[str]:
    """The budgets for people; those with a `!` have reached the share at which their tenant is warned."""
    if not budgets:
        return ["no tenant has a budget"]
    return table(BUDGET_HEAD, [_budget_cells(row) for row in budgets])


def _budget_cells(row: Row) -> tuple[object, ...]:
    mark = " !" if row["spent_share"] >= row["warns_at"] else ""
    share = f"{100 * row['spent_share']:.1f}%{mark}"
    spent, limit = round(row["spent"], 6), round(row["limit"], 6)
    return (row["tenant"], row["period"], row["current"], spent, limit, share, row["resets_at"])


def print_csv(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """The rows with a line of names before them."""
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _shown(row: Row, column: str) -> object:
    value = row[column]
    if column == "tenant":
        return value or ANONYMOUS
    if column == "kv_seconds":
        return round(value, 1)
    return round(value, 6) if column == "cost" else value
