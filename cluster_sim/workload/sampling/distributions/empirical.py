"""Empirical distribution of values that were observed."""

from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.options import InputFile, Value, Weight
from cluster_sim.workload.files.column_file import read_number_column
from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS, DistributionOptions
from cluster_sim.workload.sampling.quantile import ValueTable


class EmpiricalDistribution(DistributionOptions):
    """Values seen before: a list with optional weights, or one column of a CSV or Parquet file."""

    example: ClassVar = {"values": [10, 20, 400], "weights": [3, 2, 1]}

    kind: Literal["empirical"]
    values: tuple[Value, ...] | None = Field(default=None, min_length=1, description="The values.")
    weights: tuple[Weight, ...] | None = Field(default=None, description="Their weights; equal when absent.")
    path: InputFile | None = Field(default=None, description="File of one value a row: .csv or .parquet, also gzipped.")
    column: str | None = Field(default=None, description="Column of the file; needed with path.")

    @model_validator(mode="after")
    def _check_origin(self) -> Self:
        if (self.values is None) == (self.path is None):
            raise ValueError("empirical takes either values or path with column")
        if self.path is not None and self.column is None:
            raise ValueError("empirical with path needs column")
        if self.weights is not None:
            if self.values is None or len(self.weights) != len(self.values):
                raise ValueError("empirical needs one weight for each of its values")
            if sum(self.weights) <= 0:
                raise ValueError("empirical weights must not all be zero")
        return self


@DISTRIBUTIONS.register("empirical", EmpiricalDistribution)
def build_empirical(options: EmpiricalDistribution) -> ValueTable:
    """Return the table of the values; InputError for a wrong file."""
    if options.values is not None:
        weights = None if options.weights is None else np.asarray(options.weights, dtype=np.float64)
        return ValueTable(np.asarray(options.values, dtype=np.float64), weights)
    assert options.path is not None
    assert options.column is not None
    return ValueTable(read_number_column(Path(options.path), options.column), None)
