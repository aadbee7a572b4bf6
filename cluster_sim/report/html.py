"""``report.html``: a run on one self-contained page, which loads nothing from anywhere."""

from html import escape
from pathlib import Path
from typing import Any, Final

from cluster_sim.atomic_file import whole_file
from cluster_sim.report.figures import run_figures
from cluster_sim.report.result_tables import (
    LATENCY_FIGURES,
    band_note,
    coverage_text,
    duration_text,
    good_text,
    latency_rows,
    objective_rows,
    total_rows,
    verdict_sentence,
    verdict_style,
)
from cluster_sim.report.run_data import RunData

REPORT_FILE: Final = "report.html"

_STYLE: Final = """
body { font: 14px/1.5 system-ui, sans-serif; color: #24292f; background: #fff; max-width: 1080px; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .25rem; }
p { margin: .25rem 0 .75rem; color: #57606a; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; border-bottom: 1px solid #d8dee4; font-weight: normal; }
th { color: #57606a; } th:first-child, td:first-child { text-align: left; }
.yes { color: #2f8f62; } .no { color: #c0392b; font-weight: 600; }
.close, .warning { color: #9a6700; font-weight: 600; }
.scroll { overflow-x: auto; } pre { background: #f6f8fa; padding: 1rem; overflow-x: auto; font-size: 12px; }
"""


def write_report(directory: Path, output: Path | None = None) -> Path:
    """Write the report of the run in ``directory``, into it or to ``output``; return the file.

    Raises InputError if there is no complete run, or if the file cannot be written.
    """
    data = RunData.read(directory)
    file = output or directory / REPORT_FILE
    with whole_file(file) as partial:
        partial.write_text(report_page(data), encoding="utf-8")
    return file


def report_page(data: RunData) -> str:
    """Return the page as HTML text."""
    summary, manifest = data.summary, data.manifest
    metadata = (
        f"executor {manifest.get('executor')}, {manifest.get('wall_s', 0.0):,.2f} s of wall time, "
        f"seed {summary['seed']}, version {manifest.get('version')}"
    )
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(summary['name'])} - cluster_sim</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(summary['name'])}</h1>",
        f'<p class="{_kind(summary["slo"]["verdict"])}">{escape(verdict_sentence(summary))}</p>',
        *(f'<p class="warning">{escape(warning)}</p>' for warning in summary["warnings"]),
        *(f"<p>{escape(_step_times(pool))}</p>" for pool in summary["pools"]),
        f"<p>{escape(metadata)}.</p>",
        _objectives(summary),
        _section(
            "Latency",
            f"{coverage_text(summary).capitalize()}; ~ marks percentiles from a sketch.",
            _table(["", *LATENCY_FIGURES], latency_rows(summary)),
        ),
        _section("Run", "", _table([], [[label, text] for label, text in total_rows(summary)])),
        _charts(data),
        _section("Pools", "", _pools(summary)),
        _section("Checks", "Laws that every run must obey; each compares two independent records.", _checks(summary)),
        _section("Study", "Every value, defaults included.", f"<pre>{escape(data.resolved)}</pre>"),
        f"<p>digest {escape(str(manifest.get('digest')))}</p></body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _step_times(pool: dict[str, Any]) -> str:
    """Return where a pool's step times come from, and why."""
    why = f": {pool['predictor_choice']}" if pool["predictor_choice"] else ""
    return f"Step times of pool {pool['name']}: {pool['predictor']}{why}."


def _section(title: str, text: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(text)}</p><div class='scroll'>{body}</div></section>"


def _table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table; a cell is text, or HTML if it begins with the tag of a verdict."""
    lines = ["<table>"]
    if head:
        lines.append("<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>")
    for row in rows:
        cells = (cell if cell.startswith("<span class=") else escape(cell) for cell in row)
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


def _verdict(is_met: bool) -> str:
    return '<span class="yes">yes</span>' if is_met else '<span class="no">no</span>'


def _outcome(verdict: str) -> str:
    """Return the verdict on a limit, coloured."""
    words, _ = verdict_style(verdict)
    return f'<span class="{_kind(verdict)}">{words}</span>'


def _kind(verdict: str | None) -> str:
    """Return the class of the style of a verdict; "none" without one."""
    return "none" if verdict is None else {"met": "yes", "missed": "no"}.get(verdict, "close")


def _objectives(summary: dict[str, Any]) -> str:
    rows = [[text, _outcome(verdict)] for text, verdict in objective_rows(summary)]
    if not rows:
        return ""
    shares = good_text(summary)
    return _section("Objectives", f"{shares.capitalize()}. {band_note(summary)}", _table([], rows))


def _pools(summary: dict[str, Any]) -> str:
    rows = [
        [
            pool["name"],
            pool["model"],
            pool["device"],
            f"{pool['replicas']:,}",
            f"{pool['gpus']:,}",
            f"{pool['busy_ratio']:.1%}",
            f"{pool['requests']['finished']:,}",
            duration_text(pool["ttft_s"]["p99"]),
            duration_text(pool["tpot_s"]["p99"]),
            f"${pool['cost_usd']:,.2f}",
        ]
        for pool in summary["pools"]
    ]
    head = ["pool", "model", "device", "replicas", "GPUs", "busy", "finished", "TTFT p99", "TPOT p99", "cost"]
    return _table(head, rows)


def _checks(summary: dict[str, Any]) -> str:
    rows = [
        [name, ", ".join(f"{key} {value}" for key, value in check.items() if key != "holds"), _verdict(check["holds"])]
        for name, check in summary["checks"].items()
    ]
    return _table(["", "", "holds"], rows)


def _charts(data: RunData) -> str:
    """Return every chart; plotly's own code comes once, with the first."""
    parts = []
    for number, (title, text, figure) in enumerate(run_figures(data)):
        code = figure.to_html(
            full_html=False,
            include_plotlyjs=number == 0,
            config={"displaylogo": False, "responsive": True},
            div_id=f"chart-{number}",
        )
        parts.append(_section(title, text, code))
    return "\n".join(parts)
