"""From the workload section of a study to the source of its requests."""

from collections.abc import Iterable
from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.units import NS_PER_MS
from cluster_sim.workload.agentic import AgenticSource
from cluster_sim.workload.arrivals import build_arrivals
from cluster_sim.workload.client_limit import LimitedClient
from cluster_sim.workload.clients import ClientsColumns
from cluster_sim.workload.closed_loop import ClosedLoopSource
from cluster_sim.workload.columns import ColumnSource
from cluster_sim.workload.feedback_mix import FeedbackMix
from cluster_sim.workload.instant_service import INSTANT_SERVICE_NOTICE, InstantService
from cluster_sim.workload.merging import MergedColumns, PhasedColumns
from cluster_sim.workload.options import (
    AgenticWorkload,
    ClientsWorkload,
    ClosedLoopWorkload,
    MixWorkload,
    OpenLoop,
    PhasesWorkload,
    ServegenWorkload,
    SessionsWorkload,
    SyntheticWorkload,
    TraceWorkload,
    WorkloadConfig,
)
from cluster_sim.workload.request_stream import RequestStream
from cluster_sim.workload.sampling.random_streams import Stream
from cluster_sim.workload.servegen import ServegenColumns
from cluster_sim.workload.session_plans import SessionPlanner, shape_of, shape_of_profile
from cluster_sim.workload.sessions import SessionsSource, SharedPlanner, SinglePlanner
from cluster_sim.workload.source import FeedbackSource, RequestSource
from cluster_sim.workload.synthetic import SyntheticColumns
from cluster_sim.workload.trace import TraceColumns

_MOST_PARTS: Final = 32_767


def build_source(config: WorkloadConfig, seed: int, notices: list[str] | None = None) -> RequestSource | FeedbackSource:
    """Return the source of a study's requests.

    ``notices`` receives a line for everything that a user should know of the input (rows skipped, times sorted).
    Raises InputError when a file or a combination of settings is wrong; files are read completely before this returns.
    """
    heard: list[str] = [] if notices is None else notices
    return _Builder(seed, heard).source(config)


def build_columns(config: WorkloadConfig, seed: int, notices: list[str] | None = None) -> ColumnSource:
    """Return a workload as columns; one that reacts to how requests fare, as if each were served at once.

    ``notices`` receives a line for everything that a user should know.  Raises InputError as ``build_source`` does.
    """
    heard: list[str] = [] if notices is None else notices
    builder = _Builder(seed, heard)
    if not reacts(config):
        return builder.columns(config)
    heard.append(INSTANT_SERVICE_NOTICE)
    source = builder.source(config)
    assert isinstance(source, FeedbackSource)
    return InstantService(source)


def input_notices(config: WorkloadConfig, seed: int) -> list[str]:
    """Return what a user should know of a workload's files before the run: rows skipped, times sorted, lengths cut.

    Files are read completely, so InputError comes from here, too.
    """
    notices: list[str] = []
    if _replays(config):
        _Builder(seed, notices).source(config)
    return notices


def _replays(config: WorkloadConfig) -> bool:
    match config:
        case MixWorkload():
            return any(map(_replays, config.parts))
        case PhasesWorkload():
            return any(_replays(phase.workload) for phase in config.phases)
    return isinstance(config, TraceWorkload)


def reacts(config: WorkloadConfig) -> bool:
    """Return whether a workload's later requests depend on how earlier ones fare."""
    match config:
        case ClosedLoopWorkload() | SessionsWorkload() | AgenticWorkload():
            return True
        case ClientsWorkload():
            return any(profile.conversation is not None for profile in config.profiles)
        case MixWorkload():
            return config.max_concurrency is not None or any(reacts(part) for part in config.parts)
    return config.max_concurrency is not None


class _Builder:
    """Builds the parts of a workload, numbering them in order so that each has its own streams and ids."""

    def __init__(self, seed: int, notices: list[str]) -> None:
        self._stream = Stream(seed, "workload")
        self._notices = notices
        self._parts = 0

    def _next(self, count: int = 1) -> tuple[int, Stream]:
        part = self._parts
        self._parts += count
        if self._parts > _MOST_PARTS:
            raise InputError(f"workload: more than {_MOST_PARTS} parts")
        return part, self._stream.child(str(part))

    def source(self, config: WorkloadConfig) -> RequestSource | FeedbackSource:
        """Return the source of any workload."""
        match config:
            case ClosedLoopWorkload():
                return ClosedLoopSource(config, *self._next())
            case SessionsWorkload():
                part, stream = self._next()
                planner = SinglePlanner(SessionPlanner(shape_of(config), part, stream))
                times = build_arrivals(config.arrivals, stream.child("arrivals"), config.count)
                return SessionsSource(planner, times, config.count, config.duration_s)
            case AgenticWorkload():
                part, stream = self._next()
                times = build_arrivals(config.arrivals, stream.child("arrivals"), config.count)
                return AgenticSource(config, part, times, stream)
            case ClientsWorkload() if reacts(config):
                return self._conversing(config)
            case MixWorkload() if any(reacts(part) for part in config.parts):
                if config.max_concurrency is not None or config.first is not None:
                    raise InputError(
                        "workload: max_concurrency and first of a mix need parts that do not react to how requests fare"
                    )
                return FeedbackMix([self.source(part) for part in config.parts])
        columns = self.columns(config)
        if isinstance(config, OpenLoop) and config.max_concurrency is not None:
            return LimitedClient(columns, config.max_concurrency, round(config.reaction_ms * NS_PER_MS))
        return RequestStream(columns)

    def _conversing(self, config: ClientsWorkload) -> SessionsSource:
        first_part, stream = self._next(len(config.profiles))
        planners = [
            SessionPlanner(shape_of_profile(profile), first_part + index, stream.child("client", profile.name))
            for index, profile in enumerate(config.profiles)
        ]
        times = build_arrivals(config.arrivals, stream.child("arrivals"), config.count)
        planner = SharedPlanner(planners, [profile.share for profile in config.profiles], stream)
        return SessionsSource(planner, times, config.count, config.duration_s)

    def columns(self, config: WorkloadConfig) -> ColumnSource:
        """Return the columns of an open-loop workload."""
        match config:
            case TraceWorkload():
                return TraceColumns(config, *self._next(), self._notices)
            case SyntheticWorkload():
                return SyntheticColumns(config, *self._next())
            case ServegenWorkload():
                return ServegenColumns(config, *self._next())
            case ClientsWorkload() if not reacts(config):
                return ClientsColumns(config, *self._next(len(config.profiles)))
            case MixWorkload():
                return MergedColumns([self._part(part) for part in config.parts], config.first)
            case PhasesWorkload():
                phases = [(phase.duration_s, self._part(phase.workload)) for phase in config.phases]
                return PhasedColumns(phases, config.repeat)
        raise InputError(f"workload: kind '{config.kind}' reacts to how requests fare, so it cannot stand here")

    def _part(self, config: WorkloadConfig) -> ColumnSource:
        if reacts(config):
            raise InputError(
                f"workload: a part of kind '{config.kind}' that reacts to how requests fare (or has max_concurrency) "
                "cannot stand inside phases, or inside a mix with max_concurrency"
            )
        return self.columns(config)


def total_requests(config: WorkloadConfig) -> int | None:
    """Return how many requests a run will see at most, for a progress bar; None where only the run can tell."""
    match config:
        case TraceWorkload():
            return config.bootstrap.count if config.bootstrap is not None else config.first
        case MixWorkload():
            return config.first if config.first is not None else _sum(map(total_requests, config.parts))
        case ClientsWorkload() if reacts(config):
            return None
        case SyntheticWorkload() | ServegenWorkload() | ClosedLoopWorkload() | ClientsWorkload():
            return config.count
    return None


def _sum(counts: Iterable[int | None]) -> int | None:
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total
