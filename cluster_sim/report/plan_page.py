"""Page of a plan: the answer, speed for a user against load of a GPU, every fleet and every layout."""

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any, Final

import numpy as np

from cluster_sim.report.page.axes import linear_axis
from cluster_sim.report.page.document import document
from cluster_sim.report.page.line_chart import Line, LineChart
from cluster_sim.report.page.markup import SORT_NOTE, Column, Content, Markup, element, section, table
from cluster_sim.report.plan_report import (
    answer_lines,
    figure_text,
    gpus_cell,
    last_line,
    limit_of,
    limit_title,
    load_line,
)
from cluster_sim.report.run_page import verdict_word
from cluster_sim.report.scatter import Point, pareto_front
from cluster_sim.shown_values import counted

PLAN_PAGE: Final = "plan.html"

Entry = dict[str, Any]


def plan_page(plan: Entry, deployment: Sequence[tuple[str, str]]) -> str:
    """Return the page of a plan that has an answer; ``deployment`` are texts with their titles."""
    lines = element("ul", *(element("li", line.strip()) for line in answer_lines(plan)))
    texts = [element("div", element("h3", title), element("pre", text)) for title, text in deployment]
    return document(
        f"Plan {plan['name']}",
        element("div", element("b", last_line(plan["answer"])), lines, class_="verdict met"),
        element("p", load_line(plan)),
        section("Speed and load", _chart(plan)),
        section("Fleets that were simulated", SORT_NOTE, _fleets(plan)),
        section("Layouts", _layouts(plan), text="What became of each before the simulation."),
        section("Deployment of the answer", *texts),
        footer=f"{counted(plan['runs'], 'run')}; cluster_sim {plan['version']}.",
    )


def _chart(plan: Entry) -> Content:
    """Return the fleets by tokens per second for a user and for a GPU; nothing with fewer than two."""
    known = [
        (one, one["output_tokens_per_s_per_user"], one["output_tokens_per_s_per_gpu"])
        for one in plan["candidates"]
        if one["output_tokens_per_s_per_user"] and one["output_tokens_per_s_per_gpu"]
    ]
    if len(known) < 2:
        return ""
    x, y = (np.array([entry[index] for entry in known], np.float64) for index in (1, 2))
    front = pareto_front([Point(a, b, "") for one, a, b in known if one["verdict"] == "met"])
    places = {(point.x, point.y) for point in front}
    marked = [entry for entry in known if (entry[1], entry[2]) in places]
    labelled = list(zip(ascii_uppercase, marked, strict=False))
    chart = LineChart(
        "Output tokens per second of a GPU against those of a user",
        "More is better in both. The line joins the fleets that meet the limits and that no other such fleet beats.",
        linear_axis("tokens/s of a user", 0.0, float(x.max()) * 1.05, _number),
        linear_axis("tokens/s of a GPU", 0.0, float(y.max()) * 1.05, _number),
        [Line("Pareto front", np.array([p.x for p in front]), np.array([p.y for p in front]), 2)],
        points=(x, y),
        points_name="fleet",
        marks=[(letter, a, b) for letter, (_, a, b) in labelled],
    )
    rows = [[f"{letter}: {one['fleet']}", _number(a), _number(b)] for letter, (one, a, b) in labelled]
    columns = [Column("fleet", is_number=False), Column("tokens/s of a user"), Column("tokens/s of a GPU")]
    return element("div", chart.html(), table("Fleets on the front.", columns, rows))


def _fleets(plan: Entry) -> Markup:
    names = [name for name in plan["limits"] if any(limit_of(one, name) for one in plan["candidates"])]
    columns = [Column("fleet", is_number=False), Column("GPUs"), Column("USD/h"), Column("limits", is_number=False)]
    columns += [Column(limit_title(name)) for name in names]
    columns += [Column(title) for title in ("USD/M tokens out", "J/token out", "runs")]
    columns.append(Column("remark", is_number=False))
    rows: list[list[Content]] = []
    for one in plan["candidates"]:
        cells: list[Content] = [one["fleet"], _gpus(one), _sortable(one["usd_per_hour"], ",.2f")]
        cells.append(verdict_word(one["verdict"]))
        for name in names:
            figure = limit_of(one, name)
            value = None if figure is None else figure["value_s"]
            cells.append(element("span", figure_text(figure), data_value=None if value is None else repr(value)))
        cells += [_sortable(one["usd_per_million_output_tokens"], ",.2f"), _sortable(one["j_per_output_token"], ",.2f")]
        rows.append([*cells, _sortable(one["runs"], "d"), one["reason"] or ""])
    return table(f"{counted(len(rows), 'fleet')}.", columns, rows, kind="cards grid", is_sortable=True)


def _gpus(one: Entry) -> Content:
    return element("span", gpus_cell(one), data_value=repr(one["mean_gpus"]))


def _layouts(plan: Entry) -> Markup:
    columns = [Column("layout", is_number=False), Column("state", is_number=False), Column("about USD/h")]
    columns.append(Column("reason", is_number=False))
    rows: list[list[Content]] = [
        [
            one["layout"],
            one["state"].replace("_", " "),
            _sortable(one["estimated_usd_per_hour"], ",.2f"),
            one["reason"] or "",
        ]
        for one in plan["layouts"]
    ]
    return table(f"{counted(len(rows), 'layout')}.", columns, rows, kind="cards grid", is_sortable=True)


def _sortable(value: float | None, form: str) -> Content:
    return "-" if value is None else element("span", format(value, form), data_value=repr(value))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.2g}"
