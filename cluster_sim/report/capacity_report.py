"""Report of a capacity search: one row a configuration, with the interval of its answer, and the best per dollar."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console

from cluster_sim.report.configuration_table import Figure, print_configurations
from cluster_sim.report.result_tables import duration_text
from cluster_sim.shown_values import counted
from cluster_sim.study.capacity import UNBOUNDED

Row = Mapping[str, Any]

_TITLES: Final = {
    "requests_per_s": "requests/s",
    "gpus": "GPUs",
    "usd_per_hour": "USD/h",
    "requests_per_usd": "requests/USD",
}


def print_capacities(console: Console, rows: Sequence[Row], keys: Sequence[str], elsewhere: str) -> None:
    """Print the table of a search; ``elsewhere`` is the file that has every figure."""
    flat = [{**row["values"], **{name: value for name, value in row.items() if name != "values"}} for row in rows]
    print_configurations(console, flat, keys, _figures(rows), elsewhere)


def answer_text(row: Row) -> str:
    """Return the answer for one configuration in words: its rate with the interval, or why it has none."""
    if row["requests_per_s"] is None:
        return str(row["error"] or f"no load is within the limits: {row['limited_by']}")
    figures = ", ".join(f"{_title(name)} {_figure_text(row, name)}" for name in row["figures"] or {})
    gpus = counted(row["gpus"], "GPU")
    return f"{_rate_text(row)} on {gpus} at {row['usd_per_hour']:,.2f} USD/h ({figures})"


def best_text(rows: Sequence[Row]) -> str:
    """Return the best configuration per dollar in words; or that none serves any load, and how near they come."""
    ranked = [row for row in rows if row["requests_per_usd"] is not None]
    if ranked:
        best = max(ranked, key=lambda row: float(row["requests_per_usd"]))
        values = " ".join(f"{key}={_value_text(value)}" for key, value in best["values"].items()) or "the study"
        return f"Best per dollar: {values}: {best['requests_per_usd']:,.0f} requests/USD, {answer_text(best)}"
    if any(row["requests_per_s"] is not None for row in rows):
        return "No configuration has a price."
    tried = [row for row in rows if not row["error"]]
    if not tried:
        return "No configuration could be searched: the column error says why."
    return f"No configuration serves any load within the limits; {tried[0]['limited_by']}, even at the lowest load."


def _rate_text(row: Row) -> str:
    if row["status"] == UNBOUNDED:
        return f"{row['requests_per_s']:,.2f} requests/s or more"
    return f"{row['requests_per_s']:,.2f} requests/s ({_interval_text(row, '')})"


def _figures(rows: Sequence[Row]) -> list[Figure]:
    """Return the columns of the table, the most important first."""
    limits = dict.fromkeys(name for row in rows for name in row["figures"] or {})

    def number(key: str, form: str) -> Figure:
        return Figure(_TITLES[key], lambda row: "-" if row[key] is None else format(row[key], form))

    return [
        number("requests_per_s", ",.2f"),
        Figure("interval", lambda row: _interval_text(row, "")),
        Figure("error band", lambda row: _interval_text(row, "band_")),
        *map(_limit_column, limits),
        number("gpus", ",d"),
        number("usd_per_hour", ",.2f"),
        number("requests_per_usd", ",.0f"),
        Figure("limited by", lambda row: row["error"] or row["limited_by"] or "", is_number=False),
    ]


def _limit_column(name: str) -> Figure:
    return Figure(_title(name), lambda row: _figure_text(row, name))


def _figure_text(row: Row, name: str) -> str:
    figure = (row["figures"] or {}).get(name)
    return duration_text(figure["value"] if figure else None)


def _title(limit: str) -> str:
    """Return a limit's name as a column's title, for example ``TTFT p99``."""
    owner, _, name = limit.rpartition(": ")
    metric, percentile, _ = name.split("_")
    return f"{owner} {metric.upper()} {percentile}".strip()


def _interval_text(row: Row, prefix: str) -> str:
    low, high = row[f"{prefix}requests_per_s_low"], row[f"{prefix}requests_per_s_high"]
    return "-" if low is None else f"{low:,.2f}-{high:,.2f}"


def _value_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
