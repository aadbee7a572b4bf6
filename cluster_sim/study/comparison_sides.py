"""Sides of a comparison as files: run directories, sweep directories, results of real benchmarks."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.calibration.benchmark import read_runs
from cluster_sim.calibration.case import WHOLE_RUN
from cluster_sim.errors import InputError
from cluster_sim.metrics.latencies import latencies_ns
from cluster_sim.metrics.student_t import CONFIDENCE
from cluster_sim.output.request_rows import check_latencies, check_row_count, read_rows
from cluster_sim.output.run_directory import REQUESTS_FILE, SUMMARY_FILE, read_manifest
from cluster_sim.output.run_identity import check_identity
from cluster_sim.plain_file import check_plain, read_text
from cluster_sim.shown_values import counted, cut, shortened, shown_path
from cluster_sim.study.comparison import (
    Difference,
    RunFigures,
    compare_replications,
    compare_runs,
    compare_with_benchmark,
)
from cluster_sim.study.request_sample import request_sample
from cluster_sim.study.summary_figures import flat_figures
from cluster_sim.study.sweep_directory import FINISHED, RESULTS_FILE
from cluster_sim.units import NS_PER_S, read_ns

SEED: Final = "seed"
SCALARS: Final = {
    "requests_per_s": "throughput.requests_per_s",
    "output_tokens_per_s": "throughput.output_tokens_per_s",
    "good_requests_per_gpu_s": "good_requests_per_gpu_s",
    "avg_batch_size": "flat.avg_batch_size",
    "max_queue_length": "flat.max_queue_length",
    "prefix_hit_ratio": "prefix_hit_ratio",
    "preemptions": "preemptions",
    "gpu_hours": "gpu_hours",
    "cost_usd": "cost_usd",
    "usd_per_million_output_tokens": "usd_per_million_output_tokens",
}
"""Figures of a whole run, and where the summary has them."""
SWEPT_FIGURES: Final = (
    *(f"{latency}_s.{figure}" for latency in ("ttft", "tpot", "e2e") for figure in ("mean", "p50", "p90", "p99")),
    *("throughput.requests_per_s", "throughput.output_tokens_per_s", "gpu_hours", "cost_usd"),
    *("usd_per_million_output_tokens", "flat.fairness_index"),
)
"""Figures of a sweep's rows that are compared."""


@dataclass(frozen=True, slots=True)
class Group:
    """The differences of one configuration; two runs have one without values."""

    values: dict[str, Any]
    """The swept keys, the seed left out."""
    differences: list[Difference]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two sides."""

    kind: str
    """``runs``, ``sweeps`` or ``benchmark``."""
    are_paired: bool
    """Whether both sides share their requests or random numbers."""
    groups: list[Group]
    notes: list[str]


def compare(first: Path, second: Path, confidence: float = CONFIDENCE) -> Comparison:
    """Compare two runs, two sweeps, or a benchmark's results with a run, in either order.

    Raises InputError for a path that holds neither, sides of different kinds, and damaged files.
    """
    kinds = (_kind(first), _kind(second))
    if kinds == ("run", "run"):
        one, other = read_run(first), read_run(second)
        notes = [] if one.pairs_with(other) else ["The runs served different requests: compared as independent runs."]
        return Comparison("runs", not notes, [Group({}, compare_runs(one, other, confidence))], notes)
    if kinds == ("sweep", "sweep"):
        return _compare_sweeps(first, second, confidence)
    if set(kinds) == {"run", "benchmark"}:
        run, benchmark = (first, second) if kinds[0] == "run" else (second, first)
        return _compare_benchmark(read_run(run), benchmark, confidence)
    raise InputError(
        f"{first} is a {kinds[0]} and {second} a {kinds[1]}: compare two runs, two sweeps, or a run and a benchmark"
    )


def read_run(directory: Path) -> RunFigures:
    """Return the measured requests and the figures of a run directory; raises InputError if it is damaged."""
    summary = _summary(directory)
    if summary.get("detail") == "estimate":
        raise InputError(f"{directory}: is an estimate (run.detail: estimate), which has no requests to compare")
    path = directory / REQUESTS_FILE
    if not os.path.lexists(path):
        raise InputError(f"{shown_path(directory)}: is not the directory of a complete run: it has no {REQUESTS_FILE}")
    check_plain(path)
    try:
        pools = [pool["name"] for pool in summary["pools"]]
        edges_ns = [read_ns(summary["window"][name]) for name in ("start_s", "end_s")]
        block = read_rows(path, pools)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {cut(str(error), 200)}") from None
    except KeyError as error:
        raise InputError(f"{directory}: is no run of this release, or damaged: it lacks {cut(str(error))}") from None
    except TypeError:
        raise InputError(
            f"{directory / SUMMARY_FILE}: is no run of this release, or damaged: a value is not of the kind that runs "
            "write"
        ) from None
    except ValueError as error:
        raise InputError(f"{directory}: is no run of this release, or damaged: {cut(str(error), 200)}") from None
    check_row_count(path, len(block.rows), summary)
    check_latencies(path, summary)
    check_identity(path, read_manifest(directory))
    sample = request_sample(block, lambda arrivals: slice(*np.searchsorted(arrivals, edges_ns).tolist()))
    rows = sample.block
    queue_s = np.where(sample.is_finished, latencies_ns(rows).queue / NS_PER_S, np.nan)
    latencies = {
        name.removesuffix("_s"): np.where(sample.is_finished, values, np.nan)
        for name, values in sample.latencies_s.items()
    }
    values = {**latencies, "queue": queue_s, "lost": (~sample.is_finished).astype(np.float64)}
    keys = ("arrival_ns", "prompt_tokens", "output_tokens")
    figures = flat_figures(summary, leaves_out=frozenset())
    coverage = summary.get("predictor_coverage")
    bands = coverage.get("error_band_percent") if isinstance(coverage, dict) else None
    return RunFigures(
        np.stack([rows.column(key) for key in keys], axis=1),
        values,
        sample.window,
        _numbers(directory, {name: figures.get(key) for name, key in SCALARS.items()}),
        _numbers(directory, bands),
    )


def _numbers(directory: Path, values: object) -> dict[str, float]:
    """Return the figures of a summary that it has; raises InputError where one is no number."""
    found = {}
    for name, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise InputError(f"{directory / SUMMARY_FILE}: {name} is {shortened(value)}, not a number; it is damaged")
        if value is not None:
            found[name] = float(value)
    return found


def _kind(path: Path) -> str:
    if path.is_dir():
        if (path / SUMMARY_FILE).exists():
            return "run"
        if (path / RESULTS_FILE).exists():
            return "sweep"
        raise InputError(f"{path}: holds neither a run ({SUMMARY_FILE}) nor a sweep ({RESULTS_FILE})")
    if not path.exists():
        raise InputError(f"{path}: no such file or directory")
    own = {SUMMARY_FILE: "run", REQUESTS_FILE: "run", RESULTS_FILE: "sweep"}.get(path.name)
    if own is not None:
        raise InputError(f"{path}: is one file of a {own}, no benchmark's results; give its directory, {path.parent}")
    return "benchmark"


def _summary(directory: Path) -> dict[str, Any]:
    try:
        summary = json.loads(read_text(directory / SUMMARY_FILE))
    except ValueError as error:
        raise InputError(f"{directory / SUMMARY_FILE}: is no JSON: {error}") from None
    if not isinstance(summary, dict):
        raise InputError(f"{directory / SUMMARY_FILE}: must be an object")
    return summary


def _compare_benchmark(run: RunFigures, path: Path, confidence: float) -> Comparison:
    groups, notes = [], []
    for benchmark in read_runs(path):
        measured = {metric: value for (stage, metric), value in benchmark.measured.items() if stage == WHOLE_RUN}
        requests = len(benchmark.requests.arrival_s)
        differences = compare_with_benchmark(run, measured, requests, confidence)
        if not differences:
            raise InputError(f"{benchmark.place}: has no figure that a run has")
        groups.append(Group({"benchmark": benchmark.place}, differences))
        notes += [f"{benchmark.place}: {note}" for note in benchmark.notes]
        own = run.window.stop - run.window.start
        if own != requests:
            notes.append(f"{benchmark.place}: has {counted(requests, 'request')}, the run measures {own:,}")
    notes.append("First is the benchmark, second the simulated run.")
    return Comparison("benchmark", are_paired=False, groups=groups, notes=notes)


def _compare_sweeps(first: Path, second: Path, confidence: float) -> Comparison:
    sides = [_rows(path) for path in (first, second)]
    shared = [key for key in sides[0][0] if key in sides[1][0]]
    if not shared:
        raise InputError(
            f"{first} varies {', '.join(sides[0][0])} and {second} {', '.join(sides[1][0])}: they have no key in common"
        )
    keys = [key for key in shared if key != SEED]
    grouped = [_grouped(rows, keys) for _, rows in sides]
    notes, groups, are_paired = [], [], True
    for values, own in grouped[0].items():
        other = grouped[1].get(values)
        if other is None:
            continue
        seeds = [row.get(SEED) for row in own], [row.get(SEED) for row in other]
        is_pair = seeds[0] == seeds[1] and len(set(seeds[0])) == len(own)
        are_paired = are_paired and is_pair
        figures = [[_figures(row) for row in side] for side in (own, other)]
        differences = compare_replications(*figures, are_paired=is_pair, confidence=confidence)
        groups.append(Group(dict(zip(keys, map(json.loads, values), strict=True)), differences))
    if not groups:
        raise InputError(f"{first} and {second} have no configuration in common that finished in both")
    alone = [len(side) - len(groups) for side in grouped]
    notes += [
        f"In {path} only: {counted(count, 'configuration')}."
        for count, path in zip(alone, (first, second), strict=True)
        if count
    ]
    if SEED not in shared:
        notes.append("Neither repeats its runs, so chance is not known: vary the seed in both, seed: [1, 2, 3, 4, 5].")
    return Comparison("sweeps", are_paired, groups, notes)


def _rows(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the keys that a sweep varies, and its rows that finished."""
    try:
        rows: list[dict[str, Any]] = pq.read_table(path / RESULTS_FILE).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path / RESULTS_FILE}: cannot be read: {error}") from None
    if not rows or not {"run", "status"} <= set(rows[0]):
        raise InputError(f"{path / RESULTS_FILE}: is no table of a sweep")
    names = list(rows[0])
    keys = names[names.index("run") + 1 : names.index("status")]
    finished = [row for row in rows if row["status"] == FINISHED]
    if not finished:
        raise InputError(f"{path}: no run of the sweep finished")
    return keys, finished


def _grouped(rows: list[dict[str, Any]], keys: list[str]) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(json.dumps(row[key]) for key in keys), []).append(row)
    return {
        values: sorted(members, key=lambda row: (row.get(SEED) is None, row.get(SEED)))
        for values, members in groups.items()
    }


def _figures(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(row[name]) for name in SWEPT_FIGURES if isinstance(row.get(name), int | float)}
