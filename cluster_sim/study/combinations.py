"""Combinations of a sweep's values: every one that its conditions allow, in an order that only the sweep decides."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

from cluster_sim.config.schema.sweep import Sample, SampledRange, Sweep
from cluster_sim.errors import InputError
from cluster_sim.shown_values import by_number
from cluster_sim.study.sweep_conditions import Condition

Values = dict[str, Any]
"""Value by dotted key."""


def combinations(sweep: Sweep, own: Values | None = None) -> list[Values]:
    """Return the values of each run: entries of ``list`` change most slowly, the last key of ``grid`` fastest.

    ``own`` has the study's own values of the sweep's keys, for conditions on keys that a run leaves alone.

    Raises InputError, which begins with the key, for a wrong condition, conditions that nothing fulfils, and samples
    without the package that draws them.
    """
    conditions = [Condition(text, sweep.keys, f"sweep.where.{index}") for index, text in enumerate(sweep.where)]
    kept = [values for values in _all(sweep) if all(rule.holds((own or {}) | values) for rule in conditions)]
    if not kept:
        count = sweep.combinations
        none = by_number(count, "the only combination does not fulfil", f"none of the {count:,} combinations fulfils")
        raise InputError(f"sweep.where: {none} all conditions; the conditions contradict each other or the values")
    return kept


def source_of(sweep: Sweep, key: str) -> tuple[str, ...]:
    """Return where a sweep says the values of a key."""
    if key in sweep.grid:
        return ("grid", key)
    if key in sweep.zip:
        return ("zip", key)
    if sweep.sample is not None and key in sweep.sample.ranges:
        return ("sample", "ranges", key)
    return ("list",)


def _all(sweep: Sweep) -> Iterator[Values]:
    listed: list[Values] = list(sweep.list) or [{}]
    pairs = [dict(zip(sweep.zip, values, strict=True)) for values in zip(*sweep.zip.values(), strict=True)] or [{}]
    points = sample_points(sweep.sample) if sweep.sample is not None else [{}]
    for entry, pair, point in product(listed, pairs, points):
        for values in product(*sweep.grid.values()):
            yield entry | pair | point | dict(zip(sweep.grid, values, strict=True))


def sample_points(sample: Sample) -> list[Values]:
    """Return points that fill the ranges evenly (scipy.stats.qmc); the same for the same sample.

    Raises InputError if SciPy is not installed.
    """
    try:
        from scipy.stats import qmc
    except ImportError as error:
        raise InputError(
            "sweep.sample: needs SciPy: install the extra 'fit' (pip install 'cluster-sim[fit]')"
        ) from error
    keys = list(sample.ranges)
    if sample.method == "sobol":
        engine = qmc.Sobol(len(keys), rng=sample.seed)
        shares = engine.random_base2(math.ceil(math.log2(sample.count)))[: sample.count]
    else:
        shares = qmc.LatinHypercube(len(keys), rng=sample.seed).random(sample.count)
    return [
        {key: _at(sample.ranges[key], share) for key, share in zip(keys, row, strict=True)} for row in shares.tolist()
    ]


def _at(values: SampledRange | list[Any], share: float) -> Any:
    """Return the value below which ``share`` (0 to 1) of a range or list lies."""
    if isinstance(values, list):
        return values[int(share * len(values))]
    if values.is_whole:
        low, high = math.ceil(values.min), math.floor(values.max)
        return min(high, math.floor(_between(low, high + 1, share, values.scale)))
    # Six digits are more than any answer needs, and a file shows them.
    return float(f"{_between(values.min, values.max, share, values.scale):.6g}")


def _between(low: float, high: float, share: float, scale: str) -> float:
    return low * (high / low) ** share if scale == "log" else low + share * (high - low)
