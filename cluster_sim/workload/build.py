"""From the workload section of a study to the source of its requests."""

from collections.abc import Iterator

from cluster_sim.config.errors import InputError
from cluster_sim.config.workload import (
    MixWorkload,
    PhasesWorkload,
    ServegenWorkload,
    SyntheticWorkload,
    TraceWorkload,
    WorkloadConfig,
)
from cluster_sim.workload.columns import ColumnSource
from cluster_sim.workload.merging import MergedColumns, PhasedColumns
from cluster_sim.workload.random_streams import Stream
from cluster_sim.workload.request_stream import RequestStream
from cluster_sim.workload.servegen import ServegenColumns
from cluster_sim.workload.source import FeedbackSource, RequestSource
from cluster_sim.workload.synthetic import SyntheticColumns
from cluster_sim.workload.trace import TraceColumns


def build_source(config: WorkloadConfig, seed: int, notices: list[str] | None = None) -> RequestSource | FeedbackSource:
    """Return the source of a study's requests.

    ``notices`` receives a line for everything that a user should know of the input (rows skipped, times sorted).
    Raises InputError when a file or a combination of settings is wrong; files are read completely before this returns.
    """
    heard: list[str] = [] if notices is None else notices
    return RequestStream(Builder(seed, heard).columns(config))


class Builder:
    """Builds the parts of a workload, numbering them in order so that each has its own streams and ids."""

    def __init__(self, seed: int, notices: list[str]) -> None:
        self._stream = Stream(seed, "workload")
        self._notices = notices
        self._parts = 0

    def _next_part(self) -> tuple[int, Stream]:
        part = self._parts
        self._parts += 1
        return part, self._stream.child(str(part))

    def columns(self, config: WorkloadConfig) -> ColumnSource:
        """Return the columns of an open-loop workload; InputError for one that reacts to how requests fare."""
        match config:
            case TraceWorkload():
                return TraceColumns(config, *self._next_part(), self._notices)
            case SyntheticWorkload():
                return SyntheticColumns(config, *self._next_part())
            case ServegenWorkload():
                return ServegenColumns(config, *self._next_part())
            case MixWorkload():
                return MergedColumns([self.columns(part) for part in config.parts], config.first)
            case PhasesWorkload():
                phases = [(phase.duration_s, self.columns(phase.workload)) for phase in config.phases]
                return PhasedColumns(phases, config.repeat)
        raise InputError(f"workload: kind '{config.kind}' reacts to how requests fare, so it cannot stand here")


def total_requests(config: WorkloadConfig) -> int | None:
    """Return how many requests a run will see at most, for a progress bar; None where only the run can tell."""
    match config:
        case TraceWorkload():
            if config.bootstrap is not None:
                return config.bootstrap.count
            return config.first
        case SyntheticWorkload() | ServegenWorkload():
            return config.count
        case MixWorkload():
            return config.first if config.first is not None else _sum(total_requests(part) for part in config.parts)
        case PhasesWorkload():
            return None
    return None


def _sum(counts: Iterator[int | None]) -> int | None:
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total
