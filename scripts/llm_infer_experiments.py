"""Runs llm-infer's five experiments with replications; draws each as a page of four pictures with 95 % bands.

    python scripts/llm_infer_experiments.py --out experiments            # all five, 30 replications each
    python scripts/llm_infer_experiments.py 2 --replications 5 --requests 2000
    python scripts/llm_infer_experiments.py --resume                     # goes on where a call was broken off

The studies are those of ``conf/studies/llm_infer``; their sweep blocks name what varies.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cluster_sim import InputError, Study, sweep
from cluster_sim.metrics.intervals import Estimate, mean_estimate
from cluster_sim.report.configuration_table import short_names
from cluster_sim.report.page.axes import Axis, linear_axis
from cluster_sim.report.page.document import document
from cluster_sim.report.page.line_chart import Line, LineChart
from cluster_sim.report.page.markup import Column, beside, section, table

STUDIES = Path(__file__).resolve().parent.parent / "conf/studies/llm_infer"
SEED = 42
FIGURES = (
    ("throughput.requests_per_s", "requests finished per second"),
    ("e2e_s.mean", "mean latency, s"),
    ("queue_s.mean", "mean wait, s"),
    ("e2e_s.p99", "99th percentile of the latency, s"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiments and write one page each; print where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", type=int, help="numbers from 1 to 5; all without any")
    parser.add_argument("--replications", type=int, default=30)
    parser.add_argument("--requests", type=int, help="requests of a run, in place of the study's")
    parser.add_argument("--out", type=Path, default=Path("experiments"))
    parser.add_argument("--resume", action="store_true", help="keep the runs of a call that was broken off")
    parser.add_argument("--inline", action="store_true", help="run in this process, without Ray")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        for number in options.experiments or range(1, 6):
            print(run(number, options))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run(number: int, options: argparse.Namespace) -> Path:
    """Run one experiment; return its page."""
    file = next(STUDIES.glob(f"experiment_{number}_*.yaml"), None)
    if file is None:
        raise InputError(f"there is no experiment {number}; the numbers are 1 to 5")
    study = Study.load(file)
    if options.requests is not None:
        study = study.with_changes({"workload.count": options.requests})
    assert study.sweep is not None
    grid = {key: values for key, values in study.sweep.grid.items() if key != "seed"}
    seeds = list(range(SEED, SEED + options.replications))
    place = options.out / file.stem
    is_resumed = options.resume and (place.exists() or place.with_name(f"{place.name}.partial").exists())
    executor: Literal["inline", "ray"] = "inline" if options.inline else "ray"
    runs = sweep(study, {**grid, "seed": seeds}, place, executor=executor, resume=is_resumed).runs
    groups = [(label(values), rows) for values, rows in runs.groupby(list(grid), sort=False, dropna=False)]
    page = options.out / f"{file.stem}.html"
    page.write_text(drawn(study.name, list(grid), groups, options.replications), encoding="utf-8")
    return page


def drawn(name: str, keys: list[str], groups: list[tuple[str, Any]], replications: int) -> str:
    """Return the page of an experiment: four pictures, and the table behind them."""
    labels = [text for text, _ in groups]
    estimates = {
        figure: [estimate_of(rows[figure].dropna().to_numpy(np.float64)) for _, rows in groups] for figure, _ in FIGURES
    }
    varied = ", ".join(short_names(keys))
    pictures = [picture(title, varied, labels, estimates[figure]) for figure, title in FIGURES]
    columns = [Column(varied, is_number=False), *(Column(title) for _, title in FIGURES)]
    rows = [[text, *(words(estimates[figure][place]) for figure, _ in FIGURES)] for place, text in enumerate(labels)]
    note = f"Means over {replications} replications, with intervals of 95 % by Student's t."
    fewest = min(int(rows["e2e_s.mean"].count()) for _, rows in groups)
    if fewest < replications:
        note += f" Runs in which no request ended count for none of their latencies: of one setting only {fewest} do."
    return document(
        f"Experiment {name}",
        section(
            "Figures", beside(*pictures[:2]), beside(*pictures[2:]), text=f"{note} The dashed lines are the bands."
        ),
        section("Table", table(note, columns, rows)),
    )


def estimate_of(values: np.ndarray) -> Estimate:
    """Return the mean of the replications that have a figure; not a number where none has."""
    return mean_estimate(values if len(values) else [math.nan])


def picture(title: str, varied: str, labels: list[str], estimates: list[Estimate]) -> Any:
    """Return a chart of one figure over what varies, with its band."""
    places = np.arange(len(labels), dtype=np.float64)
    values, lows, highs = (
        np.array(numbers, np.float64)
        for numbers in zip(*((one.value, one.interval.low, one.interval.high) for one in estimates), strict=True)
    )
    known = np.where(np.isfinite(highs), highs, values)
    top = float(np.nanmax(known, initial=0.0))
    ticks = tuple(zip(places.tolist(), labels, strict=True))
    x_axis = Axis(varied, -0.5, len(labels) - 0.5, ticks)
    y_axis = linear_axis(title, 0.0, top * 1.05 or 1.0, lambda value: f"{value:,.3g}")
    lines = [Line("mean", places, values, 1)]
    if np.isfinite(highs).any():
        edges = (np.where(np.isfinite(edge), edge, np.nan) for edge in (lows, highs))
        lines += [Line("95 % band", places, edge, 1, is_dashed=True) for edge in edges]
    return LineChart(title, f"{title} over {varied}.", x_axis, y_axis, lines).html()


def words(estimate: Estimate) -> str:
    """Return a figure with its interval."""
    if math.isnan(estimate.value):
        return "none"
    return f"{estimate.value:,.4g} ({estimate.interval.low:,.4g} to {estimate.interval.high:,.4g})"


def label(values: Any) -> str:
    """Return what varies in words; a block by its kind."""
    return ", ".join(map(_short, values if isinstance(values, tuple) else (values,)))


def _short(value: Any) -> str:
    text = str(value)
    if text.startswith("{"):
        return str(json.loads(text).get("kind", text))
    return "none" if text == "nan" else text.removesuffix(".0")


if __name__ == "__main__":
    sys.exit(main())
