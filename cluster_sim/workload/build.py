"""Sources of a study's requests, built from its workload section."""

from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.workload.columns import ColumnSource
from cluster_sim.workload.feedback.instant_service import INSTANT_SERVICE_NOTICE, InstantService
from cluster_sim.workload.kind_interface import WorkloadConfig, WorkloadParts, kind_of
from cluster_sim.workload.source import FeedbackSource, RequestSource

NO_REQUESTS: Final = "workload: there are no requests: none arrives before its end, or all rows were dropped"


def build_source(config: WorkloadConfig, seed: int, notices: list[str] | None = None) -> RequestSource | FeedbackSource:
    """Return the source of a study's requests.

    ``notices`` receives a line for everything that a user should know of the input (rows skipped, times sorted).
    Raises InputError when a file or a combination of settings is wrong; files are read completely before this returns.
    """
    return kind_of(config).source(WorkloadParts(seed, [] if notices is None else notices))


def build_columns(config: WorkloadConfig, seed: int, notices: list[str] | None = None) -> ColumnSource:
    """Return a workload as columns; one that reacts to how requests fare, as if each were served at once.

    ``notices`` receives a line for everything that a user should know.  Raises InputError as ``build_source`` does.
    """
    parts = WorkloadParts(seed, [] if notices is None else notices)
    if not reacts(config):
        return kind_of(config).columns(parts)
    parts.notices.append(INSTANT_SERVICE_NOTICE)
    source = kind_of(config).source(parts)
    assert isinstance(source, FeedbackSource)
    return InstantService(source)


def first_arrival_ns(source: RequestSource | FeedbackSource) -> int:
    """Return when the first request of a source arrives; raises InputError if there is none."""
    chunks = source.initial() if isinstance(source, FeedbackSource) else source.chunks()
    for chunk in chunks:
        if chunk:
            return chunk[0].arrival_ns
    raise InputError(NO_REQUESTS)


def reacts(config: WorkloadConfig) -> bool:
    """Return whether a workload's later requests depend on how earlier ones fare."""
    return kind_of(config).reacts


def total_requests(config: WorkloadConfig) -> int | None:
    """Return how many requests a run will see at most, for a progress bar; None if it is not known before the run."""
    return kind_of(config).total_requests
