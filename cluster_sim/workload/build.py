"""From the workload section of a study to the source of its requests."""

from cluster_sim.config.workload import SyntheticWorkload, TraceWorkload, WorkloadConfig
from cluster_sim.workload.columns import ColumnSource
from cluster_sim.workload.random_streams import Stream
from cluster_sim.workload.request_stream import RequestStream
from cluster_sim.workload.source import FeedbackSource, RequestSource
from cluster_sim.workload.synthetic import SyntheticColumns
from cluster_sim.workload.trace import TraceColumns


def build_source(config: WorkloadConfig, seed: int, notices: list[str] | None = None) -> RequestSource | FeedbackSource:
    """Return the source of a study's requests.

    ``notices`` receives a line for everything that a user should know of the input (rows skipped, times sorted).
    Raises InputError when a file or a combination of settings is wrong; files are read completely before this returns.
    """
    heard: list[str] = [] if notices is None else notices
    return RequestStream(build_columns(config, 0, Stream(seed, "workload"), heard))


def build_columns(config: WorkloadConfig, part: int, stream: Stream, notices: list[str]) -> ColumnSource:
    """Return the columns of an open-loop workload; ``part`` numbers it among the parts of a composition."""
    match config:
        case TraceWorkload():
            return TraceColumns(config, part, stream.child(str(part)), notices)
        case SyntheticWorkload():
            return SyntheticColumns(config, part, stream.child(str(part)))
    raise AssertionError(config.kind)


def total_requests(config: WorkloadConfig) -> int | None:
    """Return how many requests a run will see, for a progress bar; None where only the run can tell."""
    match config:
        case TraceWorkload():
            return config.first
        case SyntheticWorkload():
            return config.count
    return None
