"""The axis of benchmark results: its registry, and what a format does.

A format is one file in ``result_formats/``: a class of options beside a reader, which recognises its documents by
their keys and turns them into runs.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from cluster_sim.calibration.benchmark_run import BenchmarkRun
from cluster_sim.calibration.result_file import ResultDocument
from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry


class ResultReader(Protocol):
    """The reader of one format."""

    keys: frozenset[str]
    """Keys of its documents, to name the nearest format where none recognises a file."""

    def recognises(self, first: object) -> bool:
        """Return whether the first document of a file is of this format."""
        ...

    def read(self, documents: Sequence[ResultDocument], seed: int) -> list[BenchmarkRun]:
        """Return the runs of a file; raise InputError with file, line and key for anything wrong in it."""
        ...


class ResultFormatOptions(ConfigModel):
    """Base of the options of a format; none has any yet but its name."""


RESULT_FORMATS: Final[Registry[type[ResultReader]]] = Registry(
    "benchmark format", "cluster_sim.calibration.result_formats", "cluster_sim.result_formats"
)
