"""Arrivals whose rate is read from a file."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.options import GREATEST_WEIGHT, LONGEST_RUN_S, InputFile
from cluster_sim.workload.arrivals.arrival_process import ARRIVALS, ArrivalOptions, ArrivalTimes
from cluster_sim.workload.arrivals.thinning import StepRate, thinned_times
from cluster_sim.workload.files.csv_file import CsvColumn, read_csv
from cluster_sim.workload.sampling.random_streams import Stream


class PiecewiseArrivals(ArrivalOptions):
    """Poisson with a rate read from a CSV file of columns start_s, request_rate (each row holds until the next)."""

    example: ClassVar = {"path": "rates.csv"}
    example_files: ClassVar = {"rates.csv": "start_s,request_rate\n0,5\n60,20\n"}

    rates: ClassVar = ("scale",)

    kind: Literal["piecewise"]
    path: InputFile = Field(description="CSV file with columns start_s and request_rate, times increasing from 0.")
    scale: float = Field(default=1.0, gt=0, le=GREATEST_WEIGHT, description="Factor on every rate.")
    repeat_s: float | None = Field(
        default=None, gt=0, le=LONGEST_RUN_S, description="Start over after this many seconds."
    )


@ARRIVALS.register("piecewise", PiecewiseArrivals)
def build_piecewise(options: PiecewiseArrivals, stream: Stream, count: int | None) -> ArrivalTimes:
    """Return Poisson arrivals of the file's rate; InputError for a wrong file."""
    rate = read_rate(options)
    return thinned_times(lambda: rate, stream)


def read_rate(options: PiecewiseArrivals) -> StepRate:
    """Return the rate read from a file; InputError for a wrong file."""
    path = Path(options.path)
    fields = {"start": CsvColumn(("start_s",), "seconds"), "rate": CsvColumn(("request_rate",), "number", most=1e9)}
    blocks = list(read_csv(path, fields))
    starts = np.concatenate([block["start"] for block in blocks])
    rates = np.concatenate([block["rate"] for block in blocks]) * options.scale
    if bool((np.diff(starts) <= 0).any()):
        row = int(np.flatnonzero(np.diff(starts) <= 0)[0]) + 1
        raise InputError(f"{path}: data row {row + 1}, column 'start_s': {starts[row]:g} does not increase")
    if float(rates.max()) <= 0:
        raise InputError(f"{path}: column 'request_rate': every rate is 0")
    if options.repeat_s is not None and float(starts[0]) >= options.repeat_s:
        raise InputError(f"{path}: repeat_s {options.repeat_s:g} ends before the first start_s {starts[0]:g}")
    return StepRate(starts.tolist(), rates.tolist(), options.repeat_s)
