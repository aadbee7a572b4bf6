"""Section of a run's page that shows where time goes: on average, for the slowest in a hundred, for single requests."""

from typing import Any, Final

import numpy as np

from cluster_sim.metrics.time_parts import PART_NAMES, PARTS
from cluster_sim.report.page.bars import part_legend, share_bar
from cluster_sim.report.page.markup import Column, Content, Markup, beside, element, section, table
from cluster_sim.report.request_times import RequestTimes
from cluster_sim.report.result_tables import duration_text
from cluster_sim.report.run_data import RunData
from cluster_sim.shown_values import counted
from cluster_sim.units import NS_PER_S

SLOWEST: Final = 12
"""Requests that are shown singly."""

_SUM: Final = "The parts add up to the time from arrival to finish."
_OWN: Final = (
    "Computing counts as a request's own as far as it would take on an idle replica; the rest is due to others in the "
    "same batches."
)
_UNKNOWN: Final = "Where a pool's steps for one request alone are not known, others in the same batches are included."


def time_section(times: RequestTimes, data: RunData) -> Content:
    """Return the section; nothing if no request finished."""
    count = len(times.request_id)
    if not count:
        return ""
    most = max(1, count // 100)
    groups = [
        ("all finished requests", times.mean_parts_s()),
        (f"the slowest {most:,}", times.mean_parts_s(times.slowest(most))),
    ]
    shown = [name for name in PARTS if any(parts[name] for _, parts in groups)]
    slowest = _slowest(times, data)
    return section(
        "Where the time goes",
        part_legend(shown, PART_NAMES),
        beside(_means(groups, shown), slowest),
        text=f"{_SUM} {_OWN if times.knows_steps else _UNKNOWN}",
    )


def _means(groups: list[tuple[str, dict[str, float]]], shown: list[str]) -> Markup:
    """Return the mean of every part for groups of requests, as bars and as figures."""
    bars = []
    for label, parts in groups:
        total = sum(parts.values())
        texts = {name: duration_text(value) for name, value in parts.items()}
        bars += [element("p", f"Mean of {label}: {duration_text(total)}"), share_bar(parts, PART_NAMES, total, texts)]
    rows = []
    for name in shown:
        cells = [PARTS[name]]
        for _, parts in groups:
            total = sum(parts.values())
            cells += [duration_text(parts[name]), f"{parts[name] / total:.1%}" if total else "-"]
        rows.append(cells)
    columns = [Column("part", is_number=False)]
    for label in ("all", "slowest"):
        columns += [Column(f"{label}, mean"), Column("share")]
    return element("div", *bars, table("Mean time of each part.", columns, rows))


def _slowest(times: RequestTimes, data: RunData) -> Markup:
    """Return a table of the slowest requests with a bar each."""
    chosen = times.slowest(SLOWEST)
    rows_of = _rows(data, times.request_id[chosen].tolist())
    longest = float(times.e2e_ns[chosen].max()) / NS_PER_S
    rows = []
    for index in chosen.tolist():
        request_id = int(times.request_id[index])
        parts = dict(zip(PARTS, (times.parts_ns[index] / NS_PER_S).tolist(), strict=True))
        texts = {name: duration_text(value) for name, value in parts.items()}
        total = sum(parts.values())
        main = max(parts, key=lambda name: parts[name])
        row = rows_of[request_id]
        lengths = f"{row['prompt_tokens']:,} + {row['output_tokens']:,} tokens, replica {row['replica']}"
        words = f"{parts[main] / total:.0%} {PART_NAMES[main]}" if total else "-"
        where = [share_bar(parts, PART_NAMES, longest, texts), element("span", f"{words}; {lengths}", class_="note")]
        rows.append([str(request_id), duration_text(total), where])
    columns = [Column("request", is_number=False), Column("end to end"), Column("where it went", is_number=False)]
    caption = f"The slowest {counted(len(rows), 'request')}; cluster-sim explain DIR REQUEST says more of each."
    return table(caption, columns, rows)


def _rows(data: RunData, ids: list[int]) -> dict[int, dict[str, Any]]:
    """Return some columns of the rows of some requests by their ids."""
    columns = data.requests(["request_id", "prompt_tokens", "output_tokens", "replica"])
    places = np.flatnonzero(np.isin(columns.column("request_id").to_numpy(), ids))
    return {row["request_id"]: row for row in columns.take(places).to_pylist()}
