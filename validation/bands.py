"""Error bands learnt from values outside the fit: errors by case and figure, and how many values they hold.

A band is the 90th percentile of the absolute errors of its case, in percent of the measured values: around a prediction
lie the measured values from which it would be off by no more.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from cluster_sim.hardware.predictors.error_band_file import FigureBand, LearntBands

FEWEST_VALUES: Final = 6
"""Fewest values that make a band; with fewer none is known."""

MOST_PERCENT: Final = 100.0


class LeftOut(NamedTuple):
    """One figure of one run that no fit has seen."""

    case: str
    figure: str
    run: str
    measured: float
    predicted: float
    is_whole_run: bool = True
    """Whether it is a figure of the whole run, not of one stage of its load."""

    @property
    def error_percent(self) -> float:
        """Absolute error in percent of the measurement."""
        return 100 * abs(self.predicted / self.measured - 1)


def learn(values: Iterable[LeftOut], ratio: float) -> dict[str, dict[str, FigureBand]]:
    """Return the bands by case and figure that are meant to hold ``ratio`` of the values."""
    groups: dict[tuple[str, str], list[LeftOut]] = defaultdict(list)
    for value in values:
        groups[value.case, value.figure].append(value)
    bands: dict[str, dict[str, FigureBand]] = defaultdict(dict)
    for (case, figure), members in sorted(groups.items()):
        band = band_of(members, ratio) if len(members) >= FEWEST_VALUES else None
        if band is not None:
            bands[case][figure] = band
    return dict(bands)


def band_of(members: list[LeftOut], ratio: float) -> FigureBand | None:
    """Return the band of one case and figure; None where errors of 100 % and more leave measured values unbounded."""
    errors = np.array([value.error_percent for value in members])
    error = float(np.ceil(100 * np.quantile(errors, ratio)) / 100)
    if error >= MOST_PERCENT:
        return None
    return FigureBand(error_percent=error, values=len(members), held=int((errors <= error).sum()))


def held_ratio(values: Iterable[LeftOut], bands: dict[str, dict[str, FigureBand]]) -> tuple[int, int]:
    """Return how many values with a band lie in it, and how many there are."""
    found = [
        value.error_percent <= bands[value.case][value.figure].error_percent
        for value in values
        if value.figure in bands.get(value.case, {})
    ]
    return sum(found), len(found)


def coverage_lines(values: list[LeftOut], learnt: LearntBands) -> list[str]:
    """Return lines with the share that the bands hold: of all, of each case, and each run left out of its bands."""
    lines = [_line("all left-out runs", values, learnt.cases)]
    for case in learnt.cases:
        members = [value for value in values if value.case == case]
        lines.append(_line(case, members, learnt.cases))
        whole = [value for value in members if value.is_whole_run]
        lines.append(_line(f"{case}, whole runs", whole, learnt.cases))
    held = total = 0
    for run in {value.run for value in values}:
        bands = learn((value for value in values if value.run != run), learnt.stated_ratio)
        own_held, own = held_ratio((value for value in values if value.run == run), bands)
        held, total = held + own_held, total + own
    lines.append(f"bands learnt without the run itself: {held / total:.1%} of {total} values")
    return lines


def _line(name: str, values: list[LeftOut], bands: dict[str, dict[str, FigureBand]]) -> str:
    held, total = held_ratio(values, bands)
    return f"{name}: {held / total:.1%} of {total} values, {len({value.run for value in values})} runs"
