"""Page of one run: verdict and fleet first, then latencies, where time goes, the fleet over time, cost, certainty."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import yaml

from cluster_sim.hardware.predictors.error_band import BandCase
from cluster_sim.report.fleet_figures import heat_maps, request_figures, series_figures
from cluster_sim.report.latency_figures import latency_figures
from cluster_sim.report.page.document import document
from cluster_sim.report.page.markup import Column, Content, Markup, beside, element, section, table
from cluster_sim.report.request_times import read_request_times
from cluster_sim.report.result_tables import (
    LATENCY_FIGURES,
    band_note,
    cost_text,
    coverage_text,
    duration_text,
    good_text,
    latency_rows,
    limit_text,
    measured_rows,
    objective_rows,
    total_rows,
    verdict_style,
)
from cluster_sim.report.run_data import RunData
from cluster_sim.report.time_sections import time_section
from cluster_sim.shown_values import by_number, counted

FloatArray = npt.NDArray[np.float64]

_COLUMNS: Final = (
    *("arrival_s", "finish_s", "ttft_s", "tpot_s", "e2e_s", "queue_s"),
    *("prompt_tokens", "cached_tokens", "preemptions"),
)
_MOST_REPLICAS: Final = 128
"""Replicas that have a line in a table; of larger fleets the heat maps tell."""
_KINDS: Final = {"met": "met", "missed": "missed", None: "none"}
_BANDED: Final = {
    "ttft": "first token (TTFT)",
    "tpot": "per token (TPOT)",
    "e2e": "end to end",
    "itl": "inter-token (ITL)",
    "requests": "requests per second",
}


def run_page(data: RunData) -> str:
    """Return the page as HTML text; raises InputError if a table of the run cannot be read."""
    summary, manifest = data.summary, data.manifest
    columns = dict(zip(_COLUMNS, data.request_columns(*_COLUMNS), strict=True))
    latencies = [figure.html() for figure in latency_figures(columns, data.gap_counts(), summary)]
    series = data.series()
    over_time = request_figures(columns, summary)
    maps: list[Markup] = []
    if len(series["time_s"]):
        over_time += series_figures(series)
        maps = [figure.html() for figure in heat_maps(series, summary)]
    run = (
        f"Executor {manifest.get('executor')}, {manifest.get('wall_s') or 0.0:,.2f} s of wall time, "
        f"seed {summary['seed']}, version {manifest.get('version')}, digest {manifest.get('digest')}."
    )
    covered = coverage_text(summary)
    about = f"{covered[:1].upper()}{covered[1:]}; ~ marks percentiles from a sketch."
    latency_table = table(about, _columns("", *LATENCY_FIGURES), latency_rows(summary), kind="cards grid")
    content: list[Content] = [
        verdict_block(summary),
        *(element("p", warning, class_="warning") for warning in summary["warnings"]),
        fleet_block(summary, data.resolved),
        tiles(summary),
        _objectives(summary),
        section("Latency", beside(latency_table, *latencies)),
        time_section(read_request_times(data), data),
        section("Over time", beside(*(figure.html() for figure in over_time))),
        section("Replicas", _pools(summary), beside(*maps), _replicas(summary)),
        section("Totals and cost", beside(_totals(summary), element("div", _costs(summary), _checks(summary)))),
        _certainty(summary),
        section("Study", _study(data.resolved)),
    ]
    return document(str(summary["name"]), *content, footer=run)


def verdict_block(summary: dict[str, Any]) -> Markup:
    """Return the verdict on the objectives, with every limit that is not kept as its reason."""
    rows = objective_rows(summary)
    if not rows:
        return element("div", element("b", "No objectives are set."), class_="verdict")
    verdict = summary["slo"]["verdict"]
    reasons = [f"{text}: {verdict_style(outcome)[0]}" for text, outcome in rows if outcome != "met"]
    listed = element("ul", *(element("li", reason) for reason in reasons or [_closest(summary)]))
    return element(
        "div",
        element("b", f"Objectives {verdict_style(verdict)[0]}"),
        listed,
        class_=f"verdict {verdict_kind(verdict)}",
    )


def _closest(summary: dict[str, Any]) -> str:
    """Return that every limit is kept, and which has least room."""
    slo = summary["slo"]
    limits = [limit for part in (slo, *slo["classes"]) for limit in part["limits"] if limit["value_s"] is not None]
    if not limits:
        return "Every limit is kept."
    closest = max(limits, key=lambda limit: limit["value_s"] / limit["limit_s"])
    return f"Every limit is kept; the one with least room: {limit_text(closest)}."


def verdict_kind(verdict: str | None) -> str:
    """Return the style of a verdict."""
    return _KINDS.get(verdict, "close")


def verdict_word(verdict: str | None) -> Content:
    """Return a verdict in its colour; a dash without one."""
    if verdict is None:
        return "-"
    return element("span", verdict_style(verdict)[0], class_=f"{verdict_kind(verdict)}-word")


def fleet_block(summary: dict[str, Any], resolved: str) -> Markup:
    """Return what was simulated, a paragraph for each pool, and where its step times come from."""
    study = _parsed(resolved)
    pools = {pool.get("name"): pool for pool in (study.get("fleet") or {}).get("pools") or ()}
    router = (study.get("router") or {}).get("policy")
    paragraphs = []
    for pool in summary["pools"]:
        engine = (pools.get(pool["name"], {}).get("engine") or {}).get("kind")
        gpus = pool["gpus"] // pool["replicas"] if pool["replicas"] else 0
        each = f", {gpus} GPUs each," if gpus > 1 else ""
        role = f", role {pool['role']}" if pool.get("role") not in (None, "both") else ""
        served = f" with {engine}" if engine else ""
        text = f" {pool['replicas']:,} x {pool['model']} on {pool['device']}{each}{served}{role}. "
        why = f"{pool['predictor_choice']}" if pool["predictor_choice"] else ""
        times = element("span", f"Step times: {pool['predictor']}{f' ({why})' if why else ''}.", class_="note")
        paragraphs.append(element("p", element("b", f"Pool {pool['name']}:"), text, times))
    if router:
        paragraphs.append(element("p", element("b", "Router:"), f" {router}."))
    return element("div", *paragraphs)


def tiles(summary: dict[str, Any]) -> Markup:
    """Return the figures that decide."""
    throughput, verdict = summary["throughput"], summary["slo"]["verdict"]
    good = summary["slo"]["good_requests_ratio"]
    figures = [
        (duration_text(summary["ttft_s"]["p99"]), "time to first token, p99"),
        (duration_text(summary["tpot_s"]["p99"]), "time per output token, p99"),
        (duration_text(summary["e2e_s"]["p99"]), "end to end, p99"),
        (f"{throughput['requests_per_s']:,.2f}", "requests finished per second"),
        (f"{throughput['output_tokens_per_s']:,.0f}", "output tokens generated per second"),
        (cost_text(summary["usd_per_million_output_tokens"], None), _cost_words(verdict)),
    ]
    if good is not None:
        figures.insert(0, (f"{good:.2%}", "good requests"))
    return element(
        "ul", *(element("li", element("b", value), element("span", words)) for value, words in figures), class_="tiles"
    )


def _cost_words(verdict: str | None) -> str:
    words = "per million output tokens"
    return words if verdict in (None, "met") else f"{words}, objectives {verdict_style(verdict)[0]}"


def _objectives(summary: dict[str, Any]) -> Content:
    slo = summary["slo"]
    limits = [("all requests", limit) for limit in slo["limits"]]
    for limited in slo["classes"]:
        label = ", ".join(f"{name} {value}" for name, value in limited["match"].items())
        limits += [(label, limit) for limit in limited["limits"]]
    if not limits:
        return ""
    rows = []
    for label, limit in limits:
        value = duration_text(limit["value_s"]) if limit["value_s"] is not None else "among lost requests"
        name = limit["name"].removesuffix("_s").replace("_", " ").replace("ttft", "TTFT").replace("tpot", "TPOT")
        name = name.replace("e2e", "E2E").replace("itl", "ITL")
        low, high = limit["low_s"], limit["high_s"]
        band = "unknown" if low is None or high is None else f"{duration_text(low)} to {duration_text(high)}"
        lost = f"{limit.get('lost', 0):,}"
        cells = [name, label, duration_text(limit["limit_s"]), value, band, lost, verdict_word(limit["verdict"])]
        rows.append(cells)
    columns = [Column("limit on", is_number=False), Column("covers", is_number=False), Column("limit"), Column("value")]
    columns += [Column("error band"), Column("lost requests"), Column("verdict", is_number=False)]
    shares = good_text(summary)
    about = band_note(summary).replace("In brackets:", "Error band:")
    caption = f"{shares.capitalize()}. {about}" if shares else about
    return section("Objectives", table(caption, columns, rows, kind="cards"))


def _pools(summary: dict[str, Any]) -> Markup:
    rows = [
        [
            pool["name"], pool["model"], pool["device"], f"{pool['replicas']:,}", f"{pool['gpus']:,}",
            f"{pool['busy_ratio']:.1%}", f"{pool['requests']['finished']:,}", duration_text(pool["ttft_s"]["p99"]),
            duration_text(pool["tpot_s"]["p99"]), _share(pool.get("prefix_hit_ratio")),
        ]
        for pool in summary["pools"]
    ]  # fmt: skip
    columns = [Column(title, is_number=False) for title in ("pool", "model", "device")]
    columns += _columns("replicas", "GPUs", "busy", "finished", "TTFT p99", "TPOT p99", "cache hits")
    return table(
        "Pools; busy is the share of the time in which the busiest stage computes.", columns, rows, kind="cards"
    )


def _replicas(summary: dict[str, Any]) -> Content:
    replicas = summary["replicas"]
    if len(replicas) > _MOST_REPLICAS:
        return element("p", f"{len(replicas):,} replicas are too many for a table: see summary.json.", class_="note")
    rows = [
        [
            f"{replica['pool']} {replica['replica']}", f"{replica['busy_ratio']:.1%}", f"{replica['finished']:,}",
            f"{replica['output_tokens']:,}", f"{replica['preemptions']:,}", duration_text(replica["mean_ttft_s"]),
            duration_text(replica["mean_queue_s"]), _share(replica["prefix_hit_ratio"]),
        ]
        for replica in replicas
    ]  # fmt: skip
    columns = [Column("replica", is_number=False)]
    columns += _columns("busy", "finished", "output tokens", "preemptions", "mean TTFT", "mean queue", "cache hits")
    made = table("Every replica over the whole run.", columns, rows, kind="cards")
    return element("details", element("summary", f"Table of the {counted(len(replicas), 'replica')}"), made)


def _totals(summary: dict[str, Any]) -> Markup:
    columns = [Column("", is_number=False), Column("")]
    return table("The measured part of the run.", columns, total_rows(summary))


def _costs(summary: dict[str, Any]) -> Markup:
    energy = {pool["name"]: pool for pool in summary["energy"]["pools"]}
    rows = [
        [
            pool["name"], f"{pool['gpu_hours']:,.3f}", f"${pool['cost_usd']:,.2f}",
            _usd(pool["usd_per_million_output_tokens"]), _usd(pool["usd_per_million_tokens"]),
            f"{energy[pool['name']]['energy_kwh']:,.3f} kWh" if pool["name"] in energy else "-",
        ]
        for pool in summary["pools"]
    ]  # fmt: skip
    columns = [Column("pool", is_number=False)]
    columns += _columns("GPU-hours", "cost", "$/M output tokens", "$/M tokens", "energy")
    caption = "Cost by pool; every token counts, whichever pool computed it"
    caption += "; energy is that of the whole run." if measured_rows(summary) else "."
    return table(caption, columns, rows, kind="cards")


def _certainty(summary: dict[str, Any]) -> Markup:
    """Return how far the figures may be wrong, and what share of the steps was measured."""
    coverage = summary["predictor_coverage"]
    rows = []
    for name, percent in coverage["error_band_percent"].items():
        latency, _, figure = name.partition("_")
        value = _figure_text(summary, latency, figure)
        if latency in _BANDED and value is not None:
            words = _BANDED[latency] if latency == "requests" else f"{_BANDED[latency]}, {figure}"
            rows.append([words, value, "unknown" if percent is None else f"± {percent:.3g}%"])
    case = BandCase(coverage["case"]).words
    edge = ", near saturation" if coverage["is_near_saturation"] else ""
    measured = coverage["measured_ratio"]
    text = f"Where nine of ten measured values lay around such predictions: {case}{edge}. "
    if measured is not None:
        text += f"{measured:.1%} of {counted(coverage['steps'], 'step time')} "
        text += f"{by_number(coverage['steps'], 'lies', 'lie')} inside what was measured."
    columns = [Column("figure", is_number=False), Column("predicted"), Column("error of nine in ten")]
    if not rows:
        return section("How sure the figures are", element("p", "No error band is known.", class_="note"), text=text)
    half = -(-len(rows) // 2)
    parts = [
        table("Error bands, in percent of the measured value.", columns, part) for part in (rows[:half], rows[half:])
    ]
    return section("How sure the figures are", beside(*parts), text=text)


def _figure_text(summary: dict[str, Any], latency: str, figure: str) -> str | None:
    if latency == "requests":
        return f"{summary['throughput']['requests_per_s']:,.2f}"
    value = summary.get(f"{latency}_s", {}).get(figure)
    return None if value is None else duration_text(value)


def _checks(summary: dict[str, Any]) -> Markup:
    rows: list[Sequence[Content]] = []
    for name, check in summary["checks"].items():
        found = "; ".join(f"{key.replace('_', ' ')}: {_plain(value)}" for key, value in check.items() if key != "holds")
        word = (
            element("span", "holds", class_="met-word")
            if check["holds"]
            else element("span", "broken", class_="missed-word")
        )
        rows.append([name, found, word])
    columns = [Column("law", is_number=False), Column("records", is_number=False), Column("", is_number=False)]
    caption = "Checks: laws that every run must obey; each compares two independent records."
    return table(caption, columns, rows)


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _study(resolved: str) -> Markup:
    return element(
        "details",
        element("summary", "Every value of the study, defaults included"),
        element("pre", resolved, tabindex="0", role="region", aria_label="resolved study"),
    )


def _parsed(resolved: str) -> dict[str, Any]:
    try:
        study = yaml.safe_load(resolved)
    except yaml.YAMLError:
        return {}
    return study if isinstance(study, dict) else {}


def _usd(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3f}"


def _share(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"


def _columns(*titles: str) -> list[Column]:
    """Return columns of numbers; one without a title holds text."""
    return [Column(title, is_number=bool(title)) for title in titles]
