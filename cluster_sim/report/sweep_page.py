"""Page of a sweep: which runs meet the objectives, the best compromises, what each key does, a table that sorts."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from string import ascii_uppercase
from typing import Any, Final, NamedTuple

import numpy as np

from cluster_sim.report.configuration_table import short_names
from cluster_sim.report.page.axes import Axis, linear_axis, log_axis
from cluster_sim.report.page.document import document
from cluster_sim.report.page.line_chart import Line, LineChart
from cluster_sim.report.page.markup import SORT_NOTE, Column, Content, Markup, beside, element, section, table
from cluster_sim.report.result_tables import duration_text
from cluster_sim.report.run_page import verdict_word
from cluster_sim.report.sweep_data import Row, SweepData
from cluster_sim.shown_values import counted


class SweepFigure(NamedTuple):
    """A figure by which runs are compared."""

    title: str
    value: Callable[[Row], float | None]
    text: Callable[[float], str]
    is_low_better: bool = True


def _column(name: str) -> Callable[[Row], float | None]:
    return lambda row: row.get(name)


def _tokens_per_gpu(row: Row) -> float | None:
    tokens, gpus = row.get("throughput.output_tokens_per_s"), _gpus(row)
    return tokens / gpus if tokens is not None and gpus else None


def _gpus(row: Row) -> float | None:
    """Return the GPUs that were there on average; those at the start in a table of an earlier release."""
    return row.get("mean_gpus") or row.get("gpus")


def _usd(value: float) -> str:
    return f"${value:,.3g}" if value < 1000 else f"${value:,.0f}"


def _number(value: float) -> str:
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


TTFT: Final = SweepFigure("TTFT p99", _column("ttft_s.p99"), duration_text)
TPOT: Final = SweepFigure("TPOT p99", _column("tpot_s.p99"), duration_text)
E2E: Final = SweepFigure("E2E p99", _column("e2e_s.p99"), duration_text)
RATE: Final = SweepFigure("requests/s", _column("throughput.requests_per_s"), _number, is_low_better=False)
PER_GPU: Final = SweepFigure("tokens out/s per GPU", _tokens_per_gpu, _number, is_low_better=False)
COST: Final = SweepFigure("$/M tokens out", _column("usd_per_million_output_tokens"), _usd)
GPUS: Final = SweepFigure("GPUs", _gpus, _number)
FIGURES: Final = (TTFT, TPOT, E2E, RATE, PER_GPU, COST, GPUS)
EFFECTS: Final = (TTFT, TPOT, E2E, PER_GPU, COST)

_MOST_LABELS: Final = 12
"""Runs of a front that carry a letter and are listed."""

_MOST_LEVELS: Final = 8
"""Values of a key whose means are told one by one."""
_RANGES: Final = 4
"""Groups of equal size that more numbers are divided into."""


def sweep_page(sweep: SweepData) -> str:
    """Return the page as HTML text."""
    shown = [front for front in (_front(sweep, COST, TTFT), _front(sweep, PER_GPU, TPOT)) if front]
    content: list[Content] = [
        _verdict(sweep),
        section(
            "Best compromises",
            beside(*shown),
            text="Each point is a run. The line joins those that no other run beats in both figures (Pareto front).",
        ) if shown else "",
        _effects(sweep),
        section("Runs", SORT_NOTE, _runs(sweep)),
    ]  # fmt: skip
    name = sweep.directory.resolve().name
    return document(f"Sweep {name}", *content, footer=f"{counted(len(sweep.rows), 'run')} of {sweep.directory}.")


def _verdict(sweep: SweepData) -> Markup:
    """Return how many runs meet the objectives, and the cheapest of them."""
    finished, failed = sweep.finished, len(sweep.rows) - len(sweep.finished)
    judged = [row for row in finished if row.get("slo.verdict") is not None]
    met = [row for row in judged if row["slo.verdict"] == "met"]
    lines = []
    if not judged:
        title, kind = f"{counted(len(finished), 'run')}; no objectives are set.", ""
        candidates = finished
    else:
        title = f"{len(met):,} of {counted(len(judged), 'run')} meet the objectives"
        kind = "met" if met else "missed"
        candidates = met
    priced = [row for row in candidates if COST.value(row) is not None]
    if priced:
        cheapest = min(priced, key=lambda row: COST.value(row) or 0.0)
        figures = ", ".join(
            f"{figure.title} {figure.text(value)}"
            for figure in (COST, TTFT, TPOT, GPUS)
            if (value := figure.value(cheapest)) is not None
        )
        of = " of these" if judged else ""
        lines.append(f"The cheapest{of} per output token: {sweep.label(cheapest)} ({figures}).")
    if failed:
        lines.append(f"{counted(failed, 'run')} failed; the table has what went wrong.")
    listed = element("ul", *(element("li", line) for line in lines)) if lines else ""
    return element("div", element("b", title), listed, class_=f"verdict {kind}")


def front_of(values: Sequence[tuple[float, float]], *, is_low_better: tuple[bool, bool]) -> list[int]:
    """Return which of (x, y) no other beats in both, from the best x on."""
    signs = [1 if low else -1 for low in is_low_better]
    order = sorted(range(len(values)), key=lambda index: (signs[0] * values[index][0], signs[1] * values[index][1]))
    front: list[int] = []
    for index in order:
        if not front or signs[1] * values[index][1] < signs[1] * values[front[-1]][1]:
            front.append(index)
    return front


def _front(sweep: SweepData, across: SweepFigure, up: SweepFigure) -> Content:
    """Return the runs by two figures and their Pareto front, as chart and table; nothing with fewer than two runs."""
    known = [(row, x, y) for row in sweep.finished if (x := across.value(row)) and (y := up.value(row))]
    if len(known) < 2:
        return ""
    values = [(x, y) for _, x, y in known]
    front = front_of(values, is_low_better=(across.is_low_better, up.is_low_better))
    x, y = np.array(values, np.float64).T
    line = sorted(values[index] for index in front)
    every = -(-len(front) // _MOST_LABELS)
    labelled = [(letter, index) for letter, index in zip(ascii_uppercase, front[::every], strict=False)]
    better = ["lower" if figure.is_low_better else "higher" for figure in (across, up)]
    text = (
        f"{across.title}: {better[0]} is better; {up.title}: {better[1]} is better. "
        f"On the front: {counted(len(front), 'run')}."
    )
    chart = LineChart(
        f"{up.title} against {across.title}",
        text,
        _axis(across, x),
        _axis(up, y),
        [Line("Pareto front", np.array([a for a, _ in line]), np.array([b for _, b in line]), 2)],
        points=(x, y),
        points_name="run",
        marks=[(letter, *values[index]) for letter, index in labelled],
    )
    rows = [
        [f"{letter}: {sweep.label(known[index][0])}", across.text(values[index][0]), up.text(values[index][1])]
        for letter, index in labelled
    ]
    columns = [Column("run", is_number=False), Column(across.title), Column(up.title)]
    return element("div", chart.html(), table("Runs on the front.", columns, rows))


def _axis(figure: SweepFigure, values: Any) -> Axis:
    low, high = float(values.min()), float(values.max())
    unit = "s" if figure.text is duration_text else ""
    if high / low > 5:
        return log_axis(figure.title, low, high, figure.text, unit)
    room = (high - low or high) * 0.1
    return linear_axis(figure.title, max(0.0, low - room), high + room, figure.text, unit)


def _effects(sweep: SweepData) -> Content:
    """Return what each swept key does to each figure, all others being averaged over."""
    ratios, levels = [], []
    for name, key in zip(short_names(sweep.keys), sweep.keys, strict=True):
        groups = _groups(sweep, key)
        if len(groups) < 2:
            continue
        means = {level: [_geometric_mean(rows, figure) for figure in EFFECTS] for level, rows in groups.items()}
        cells: list[Content] = [name]
        for index in range(len(EFFECTS)):
            known = {level: mean for level, values in means.items() if (mean := values[index]) is not None}
            cells.append(_ratio(known))
        ratios.append(cells)
        for level, values in means.items():
            texts = [
                "-" if value is None else figure.text(value) for figure, value in zip(EFFECTS, values, strict=True)
            ]
            levels.append([f"{name} {level}", f"{len(groups[level]):,}", *texts])
    if not ratios:
        return ""
    titles = [Column(figure.title) for figure in EFFECTS]
    first = table(
        "How many times the highest mean of a key's values is the lowest, and where the lowest is.",
        [Column("key", is_number=False), *titles], ratios, kind="cards",
    )  # fmt: skip
    second = table(
        "Geometric means over all runs with a value.",
        [Column("value", is_number=False), Column("runs"), *titles], levels, kind="cards grid",
    )  # fmt: skip
    text = "The mean over all runs that share a value of one key, whatever the other keys are."
    return section("Main effects", first, element("div", second, style="margin-top:1.25rem"), text=text)


def _groups(sweep: SweepData, key: str) -> dict[str, list[Row]]:
    """Return the finished runs by the value of a key, or by ranges where it has many numbers as values."""
    values = [row[key] for row in sweep.finished]
    groups: dict[str, list[Row]] = {}
    if len(set(map(str, values))) > _MOST_LEVELS and all(isinstance(value, int | float) for value in values):
        ordered = sorted(sweep.finished, key=lambda row: float(row[key]))
        ends = [len(ordered) * number // _RANGES for number in range(_RANGES + 1)]
        for first, last in pairwise(ends):
            part = ordered[first:last]
            groups[f"{_number(part[0][key])} to {_number(part[-1][key])}"] = part
        return groups
    for row in sweep.finished:
        groups.setdefault(sweep.text(row, key), []).append(row)
    return groups


def _geometric_mean(rows: Sequence[Row], figure: SweepFigure) -> float | None:
    values = [value for row in rows if (value := figure.value(row))]
    return float(np.exp(np.mean(np.log(values)))) if values else None


def _ratio(means: dict[str, float]) -> Content:
    """Return how many times the highest is the lowest, and whose the lowest is."""
    if len(means) < 2:
        return "-"
    lowest = min(means, key=lambda level: means[level])
    ratio = max(means.values()) / means[lowest]
    if ratio < 1.005:
        return "no effect"
    return element("span", f"{ratio:.3g} times", element("br"), element("span", f"lowest: {lowest}", class_="note"))


def _runs(sweep: SweepData) -> Markup:
    rows = []
    for row in sweep.rows:
        cells: list[Content] = [str(row["run"]).partition("-")[0], *(sweep.text(row, key) for key in sweep.keys)]
        error = row.get("error")
        cells.append(
            element("span", str(error), class_="missed-word") if error else verdict_word(row.get("slo.verdict"))
        )
        for figure in FIGURES:
            value = figure.value(row)
            cells.append("-" if value is None else element("span", figure.text(value), data_value=repr(float(value))))
        rows.append(cells)
    columns = [Column("run", is_number=False)]
    for name, key in zip(short_names(sweep.keys), sweep.keys, strict=True):
        columns.append(Column(name, is_number=all(isinstance(row[key], int | float) for row in sweep.rows)))
    columns += [Column("objectives", is_number=False), *(Column(figure.title) for figure in FIGURES)]
    return table(f"{counted(len(rows), 'run')}.", columns, rows, kind="cards grid", is_sortable=True)
