"""What a dashboard is made of, and how Grafana writes it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = 24
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA_VERSION = 39


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression, and how its series are called."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. A `stat` shows the last value, a `table` the last value of each series."""

    title: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"
    help_text: str = ""
    width: int = 8
    height: int = 8
    threshold: float | None = None
    """From here on the value is drawn in red."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page of panels."""

    uid: str
    title: str
    help_text: str
    panels: Sequence[Panel]

    def as_json(self) -> dict[str, Any]:
        """As Grafana imports it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.help_text,
            "tags": ["pdmesh"],
            "schemaVersion": SCHEMA_VERSION,
            "editable": True,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": [_data_source()]},
            "panels": list(_placed(self.panels)),
        }


def of(expression: str, legend: str = "") -> tuple[Query, ...]:
    """A panel's only query."""
    return (Query(expression, legend),)


def quantiles(metric: str, by: str, *shares: float) -> tuple[Query, ...]:
    """Percentiles of a histogram, one line for each share and value of the label `by`."""
    return tuple(
        Query(
            f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}_bucket[$__rate_interval])))",
            f"p{share * 100:g} {{{{{by}}}}}",
        )
        for share in shares
    )


def _placed(panels: Iterable[Panel]) -> Iterable[dict[str, Any]]:
    """Left to right, then the next row."""
    x = y = row_height = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        yield _panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": panel.height})
        x, row_height = x + panel.width, max(row_height, panel.height)


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.threshold is not None:
        steps.append({"color": "red", "value": panel.threshold})
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help_text,
        "datasource": DATA_SOURCE,
        "gridPos": place,
        "targets": [
            _target(panel, query, letter) for query, letter in zip(panel.queries, "ABCDEFGH", strict=False)
        ],
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}}
        if panel.kind == "timeseries"
        else {},
    }


def _target(panel: Panel, query: Query, letter: str) -> dict[str, Any]:
    is_table = panel.kind == "table"
    return {
        "refId": letter,
        "datasource": DATA_SOURCE,
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
        "instant": is_table,
        "range": not is_table,
        "format": "table" if is_table else "time_series",
    }


def _data_source() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
