"""Metric families: what a snapshot says under one name, independent of how it is served.

Families hold whole columns, one entry a label set, so that thousands of series cost a few operations on arrays.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.units import NS_PER_S

Int64Array = npt.NDArray[np.int64]

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Labels(NamedTuple):
    """One set of labels."""

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, **labels: str) -> "Labels":
        """Return labels by name, in this order."""
        return cls(tuple(labels.items()))

    def plus(self, **labels: str) -> "Labels":
        """Return these labels and more."""
        return Labels((*self.pairs, *labels.items()))

    @property
    def text(self) -> str:
        """The labels as they stand between braces, values escaped."""
        return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in self.pairs)


class Scalars(NamedTuple):
    """A family of gauges or counters: a value for each set of labels.

    ``name`` is the one of samples: a counter's ends in ``_total``.
    """

    name: str
    kind: str
    """``gauge`` or ``counter``."""
    text: str
    labels: Sequence[Labels]
    values: Sequence[float]


class HistogramPart(NamedTuple):
    """Histograms on the same boundaries."""

    bounds: tuple[str, ...]
    """As Go writes them, +Inf included: ``bound_texts``."""
    labels: Sequence[Labels]
    cumulative: Int64Array
    """int64[labels, bounds]."""
    sums: Sequence[float]


class Histograms(NamedTuple):
    """A family of histograms."""

    name: str
    text: str
    parts: Sequence[HistogramPart]
    kind: str = "histogram"


Family = Scalars | Histograms


def bound_texts(bounds: Sequence[float]) -> tuple[str, ...]:
    """Return a histogram's boundaries and +Inf as Go writes them, the form every exporter uses for ``le``."""
    return (*(_go_float(bound) for bound in bounds), "+Inf")


def _go_float(value: float) -> str:
    """Return a number >= 0 as Go's shortest form does, with a decimal point kept as exporters in Python do."""
    if value < 1e6:
        return repr(float(value))
    mantissa, exponent = f"{value:e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e+{int(exponent):02d}"


def seconds(values_ns: Sequence[int] | Int64Array | npt.NDArray[np.object_]) -> list[float]:
    """Return times in ns as seconds."""
    return [int(value) / NS_PER_S for value in values_ns]
