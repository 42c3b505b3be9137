"""`GET /admin/usage`: what tenants used, as JSON or CSV."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qsl

import msgspec

from services.common.errors import InvalidField, NotAllowed, StoreUnavailable, UsageUnavailable
from services.common.store.usage import DAYS_MAX, Ledger, UsageRow
from services.gateway.accounts.metering.meter import Meter
from services.gateway.accounts.spending.report import BudgetReport, BudgetRow
from services.gateway.http import Exchange, HttpResponse

PARAMETERS = ("day", "from", "to", "tenant", "format")
CSV = "text/csv; charset=utf-8"
RETRY_MS = 1_000


class UsageReport:
    """Answers the one URL. For tenants with `is_admin`; for everybody where there are no tenants."""

    def __init__(self, meter: Meter, ledger: Ledger, budgets: BudgetReport) -> None:
        self._meter = meter
        self._ledger = ledger
        self._budgets = budgets

    async def answer(self, exchange: Exchange) -> None:
        """Answer with the rows asked for; what this gateway has booked is in them. JSON has budgets, too.

        Raises `NotAllowed`, `InvalidField`, and `UsageUnavailable`.
        """
        if not (exchange.caller.is_admin or exchange.caller.is_anonymous):
            raise NotAllowed("/admin/usage is for tenants with is_admin")
        asked = _parameters(exchange.request.query)
        days = _days(asked, self._meter.today())
        form, tenant = asked.get("format", "json"), asked.get("tenant")
        budget_days = self._budgets.days(tenant) if form == "json" else []
        try:
            await self._meter.flush()
            rows = await self._ledger.rows(days)
            spent = await self._ledger.rows(budget_days) if budget_days else []
        except StoreUnavailable as error:
            raise UsageUnavailable(error.message, retry_after_ms=RETRY_MS) from None
        shown = [row for row in rows if tenant in (None, row.tenant)]
        exchange.respond(_response(shown, days, form, self._budgets.rows(tenant, spent)))


def _parameters(query: str) -> Mapping[str, str]:
    asked = dict(parse_qsl(query, keep_blank_values=True))
    for name in asked:
        if name not in PARAMETERS:
            raise InvalidField(
                f"{name[:100]}: no such parameter; there are {', '.join(PARAMETERS)}", field=name[:100]
            )
    if asked.get("format", "json") not in ("json", "csv"):
        raise InvalidField("format: must be json or csv", field="format")
    return asked


def _days(asked: Mapping[str, str], today: date) -> list[str]:
    """The days asked for, today where none are; raises `InvalidField`."""
    if "day" in asked:
        first = last = _date("day", asked["day"])
        if "from" in asked or "to" in asked:
            raise InvalidField("day: not together with from and to", field="day")
    else:
        last = _date("to", asked["to"]) if "to" in asked else today
        first = _date("from", asked["from"]) if "from" in asked else last
    count = (last - first).days + 1
    if not 0 < count <= DAYS_MAX:
        raise InvalidField(f"from: at most {DAYS_MAX} days, and not after to", field="from")
    return [(first + timedelta(days=i)).isoformat() for i in range(count)]


def _date(name: str, text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise InvalidField(f"{name}: must be a date such as 2026-01-31", field=name) from None


def _response(rows: list[UsageRow], days: list[str], form: str, budgets: list[BudgetRow]) -> HttpResponse:
    if form == "csv":
        return HttpResponse(200, _csv(rows), CSV)
    body = {"from": days[0], "to": days[-1], "data": [asdict(row) for row in rows]}
    return HttpResponse(200, msgspec.json.encode({**body, "budgets": [asdict(row) for row in budgets]}))


def _csv(rows: list[UsageRow]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(UsageRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue().encode()
