"""Ranks the options of a study by what they do to a figure: Morris' elementary effects, or Sobol's indices.

    python scripts/sensitivity.py study.yaml --vary workload.arrivals.request_rate=5:15 \
        --vary fleet.pools.0.engine.max_num_seqs=16:256 --figure e2e_s.p99
    python scripts/sensitivity.py study.yaml --vary ... --method sobol --samples 64

A range of whole numbers stays whole.  Morris (1991) takes ``samples`` paths that change one option at a time: ``mu*``,
the mean of the absolute effects, says how much an option matters, ``sigma`` how much that depends on the others.
Sobol's first-order and total indices (Saltelli et al., 2010) are shares of the figure's variance.  An effect is that of
the whole range.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cluster_sim import InputError, Study, simulate

LEVELS = 4
"""Levels of an option on Morris' grid."""
Point = np.ndarray[Any, np.dtype[np.float64]]
Figure = Callable[[Point], float]
"""The figure at a point of the unit cube."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of the options, the one that matters most first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--vary", action="append", required=True, metavar="KEY=LOW:HIGH")
    parser.add_argument("--figure", default="e2e_s.p99", help="dotted name of a figure of the summary")
    parser.add_argument("--method", choices=("morris", "sobol"), default="morris")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    try:
        ranges = dict(parsed(text) for text in options.vary)
        figure = figure_of(Study.load(options.study), ranges, options.figure)
        rank = morris if options.method == "morris" else sobol
        columns, rows = rank(figure, list(ranges), options.samples, np.random.default_rng(options.seed))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    width = max(map(len, ranges))
    print(f"{options.figure:<{width}}  " + "  ".join(f"{name:>12}" for name in columns))
    for key, values in sorted(rows.items(), key=lambda row: -row[1][0]):
        print(f"{key:<{width}}  " + "  ".join(f"{value:>12.4g}" for value in values))
    return 0


def parsed(text: str) -> tuple[str, tuple[float, float, bool]]:
    """Return key, low, high and whether the range is of whole numbers."""
    key, _, span = text.partition("=")
    low, _, high = span.partition(":")
    try:
        bounds = float(low), float(high)
    except ValueError:
        raise InputError(f"--vary {text}: must look like KEY=LOW:HIGH") from None
    if not bounds[0] < bounds[1]:
        raise InputError(f"--vary {text}: the low end must lie below the high one")
    return key, (*bounds, low.isdecimal() and high.isdecimal())


def figure_of(study: Study, ranges: dict[str, tuple[float, float, bool]], name: str) -> Figure:
    """Return the figure as a function of a point; runs are made once for each study."""
    known: dict[tuple[float, ...], float] = {}

    def figure(point: Point) -> float:
        values = []
        for share, (low, high, is_whole) in zip(point.tolist(), ranges.values(), strict=True):
            value = low + share * (high - low)
            values.append(round(value) if is_whole else value)
        key = tuple(values)
        if key not in known:
            summary = simulate(study.with_changes(dict(zip(ranges, values, strict=True))), progress=False).summary
            if name not in summary.index or summary.loc[name, "value"] is None:
                raise InputError(f"--figure {name}: the summary has no such figure; for example e2e_s.p99")
            known[key] = float(summary.loc[name, "value"])
        return known[key]

    return figure


def morris(
    figure: Figure, keys: list[str], paths: int, draws: np.random.Generator
) -> tuple[tuple[str, ...], dict[str, tuple[float, ...]]]:
    """Return mean absolute effect, mean effect and standard deviation of each option."""
    step = LEVELS / (2 * (LEVELS - 1))
    effects: dict[str, list[float]] = {key: [] for key in keys}
    for _ in range(paths):
        point = draws.integers(0, LEVELS // 2, len(keys)) / (LEVELS - 1)
        before = figure(point)
        for index in draws.permutation(len(keys)):
            point = point.copy()
            point[index] += step
            after = figure(point)
            effects[keys[index]].append((after - before) / step)
            before = after
    rows = {
        key: (float(np.mean(np.abs(found))), float(np.mean(found)), float(np.std(found)))
        for key, found in effects.items()
    }
    return ("mu*", "mu", "sigma"), rows


def sobol(
    figure: Figure, keys: list[str], samples: int, draws: np.random.Generator
) -> tuple[tuple[str, ...], dict[str, tuple[float, ...]]]:
    """Return first-order and total indices of each option."""
    first, second = draws.random((samples, len(keys))), draws.random((samples, len(keys)))
    at_first = np.array([figure(point) for point in first])
    at_second = np.array([figure(point) for point in second])
    both = np.concatenate([at_first, at_second])
    center, variance = float(both.mean()), float(both.var())
    rows = {}
    for index, key in enumerate(keys):
        mixed = first.copy()
        mixed[:, index] = second[:, index]
        at_mixed = np.array([figure(point) for point in mixed])
        share = float(np.mean((at_second - center) * (at_mixed - at_first)))  # Saltelli et al. (2010), table 2 (b).
        total = float(np.mean((at_first - at_mixed) ** 2)) / 2  # Jansen's estimator, table 2 (f).
        rows[key] = (total / variance, share / variance) if variance else (0.0, 0.0)
    return ("total", "first order"), rows


if __name__ == "__main__":
    sys.exit(main())
