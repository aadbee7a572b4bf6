"""Kinds of workloads: the axis, its registry, and the options and capabilities that kinds share."""

import math
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, TypeVar

from pydantic import Field, model_validator

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S, MOST_ITEMS, MS_PER_DAY, ConfigModel
from cluster_sim.registry import Registry
from cluster_sim.units import NS_PER_MS
from cluster_sim.workload.arrivals.arrival_process import Arrivals, ArrivalTimes, build_arrivals
from cluster_sim.workload.arrivals.bounded_times import bounded_times
from cluster_sim.workload.columns import ColumnSource
from cluster_sim.workload.feedback.client_limit import LimitedClient
from cluster_sim.workload.request_stream import RequestStream
from cluster_sim.workload.sampling.random_streams import Stream
from cluster_sim.workload.source import FeedbackSource, RequestSource

WORKLOAD_KINDS: Final = Registry[type["WorkloadKind[Any]"]](
    "workload kind", "cluster_sim.workload.kinds", "cluster_sim.workload_kinds"
)
"""Kinds, each made from its options."""

LoadUnit = Literal["requests", "sessions", "users"]

_MOST_PARTS: Final = 32_767


class WorkloadOptions(ConfigModel):
    """A workload section of a study; ``kind`` tells them apart."""

    kind: str
    model: str | None = Field(
        default=None,
        min_length=1,
        description="Model of requests that name none, where several are served; null refuses these.",
    )


def without_model(part: WorkloadOptions) -> None:
    """Raise ValueError for a part of a workload that names a model: that of the whole workload counts."""
    if part.model is not None:
        raise ValueError("model: belongs to the whole workload, not to a part of it")


if TYPE_CHECKING:
    WorkloadConfig = WorkloadOptions
else:
    WorkloadConfig = WORKLOAD_KINDS.annotation()


class OpenLoopOptions(WorkloadOptions):
    """Options that workloads share whose requests do not wait for one another."""

    max_concurrency: int | None = Field(
        default=None,
        ge=1,
        le=MOST_ITEMS,
        description="The client never has more requests in flight; later ones are sent when earlier ones end.",
    )
    reaction_ms: float = Field(
        default=0.0,
        ge=0,
        le=MS_PER_DAY,
        description="Time a client at its limit takes from an end to the next send, ms.",
    )


class EndOptions(WorkloadOptions):
    """End of a drawn workload: after a number of requests, or at a time, whichever comes first."""

    count: int | None = Field(default=None, ge=1, le=MOST_ITEMS, description="Requests (sessions) to produce.")
    duration_s: float | None = Field(
        default=None,
        gt=0,
        le=LONGEST_RUN_S,
        description="No arrival (no session start) at or after this time, seconds.",
    )

    @model_validator(mode="after")
    def _check_end(self) -> Self:
        if self.count is None and self.duration_s is None:
            raise ValueError("give count or duration_s (or both)")
        return self


class ArrivingOptions(EndOptions):
    """Options of a workload that is drawn from an arrival process."""

    arrivals: Arrivals = Field(description="When requests arrive.")

    @model_validator(mode="after")
    def _check_count(self) -> Self:
        if self.count is None and math.isinf(getattr(self.arrivals, "request_rate", 0.0)):
            raise ValueError(
                "arrivals with request_rate: .inf need count, the number of requests that are there at once"
            )
        return self

    def arrival_times(self, stream: Stream) -> ArrivalTimes:
        """Return the arrival process, ended as the options say."""
        times = build_arrivals(self.arrivals, stream.child("arrivals"), self.count)
        return bounded_times(times, self.count, self.duration_s)


class WorkloadParts:
    """Numbers the parts of a workload in order, so that each has its own streams and ids."""

    def __init__(self, seed: int, notices: list[str]) -> None:
        self.notices = notices
        """Receives a line for everything that a user should know of the input."""
        self._stream = Stream(seed, "workload")
        self._taken = 0

    def take(self, count: int = 1) -> tuple[int, Stream]:
        """Return the number of the next part, and its stream; ``count`` parts may share the stream."""
        part = self._taken
        self._taken += count
        if self._taken > _MOST_PARTS:
            raise InputError(f"workload: more than {_MOST_PARTS} parts")
        return part, self._stream.child(str(part))


Options = TypeVar("Options", bound=WorkloadOptions)


class WorkloadKind(Generic[Options]):
    """A workload of one kind, before its source is built: the capabilities that its options give it."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def reacts(self) -> bool:
        """Whether later requests depend on how earlier ones fare."""
        return False

    @property
    def total_requests(self) -> int | None:
        """How many requests a run will see at most; None if it is not known before the run."""
        return None

    def mean_rate(self) -> float | None:
        """Return the mean rate that the options name, requests per second; None for a trace at its own rate.

        Raises InputError if the rate cannot be varied by one number.
        """
        arrivals = getattr(self.options, "arrivals", None)
        raise InputError(
            "workload: a search of the highest load needs a trace, or synthetic arrivals with a request_rate; got "
            f"{self.options.kind}{f' with arrivals of kind {arrivals.kind}' if arrivals else ''}"
        )

    def at_rate(self, rate_per_s: float) -> Options:
        """Return the options with another mean rate, if ``mean_rate`` allows it."""
        raise NotImplementedError

    @property
    def is_stationary(self) -> bool:
        """Whether the load is the same throughout, so that only an empty fleet sets the beginning of a run apart."""
        return False

    @property
    def load_unit(self) -> LoadUnit:
        """What the load is counted in."""
        return "requests"

    @property
    def users(self) -> int:
        """Users who send requests, if they are what the load is counted in; else 0."""
        return 0

    def scaled(self, factor: float) -> Options:
        """Return the options with so many times the load, whatever its unit.

        Raises InputError if it cannot be varied by one number.
        """
        arrivals = getattr(self.options, "arrivals", None)
        if arrivals is None:
            raise InputError(f"workload: the load of kind {self.options.kind} cannot be varied by one number")
        try:
            return self.options.model_copy(update={"arrivals": arrivals.scaled(factor)})
        except ValueError as error:
            raise InputError(f"workload: the load of {error} cannot be varied by one number") from None

    def columns(self, parts: WorkloadParts) -> ColumnSource:
        """Return the requests as columns, if the workload is open loop.

        Raises InputError when a file or a combination of settings is wrong, and for a workload that reacts.
        """
        raise InputError(f"workload: kind '{self.options.kind}' reacts to how requests fare, so it cannot stand here")

    def source(self, parts: WorkloadParts) -> RequestSource | FeedbackSource:
        """Return the source of the requests; raises InputError as ``columns`` does."""
        return RequestStream(self.columns(parts))


OpenLoop = TypeVar("OpenLoop", bound=OpenLoopOptions)


class OpenLoopKind(WorkloadKind[OpenLoop]):
    """A workload whose requests do not wait for one another, unless a client limits those in flight."""

    @property
    def reacts(self) -> bool:
        """Whether a client limits the requests in flight."""
        return self.options.max_concurrency is not None

    def scaled(self, factor: float) -> OpenLoop:
        """Return the options with so many times the load; a client's limit on requests in flight grows with it."""
        most = self.options.max_concurrency
        if most is None:
            return self.scaled_rates(factor)
        place = getattr(self.options, "arrivals", None) or self.options
        is_at_once = getattr(place, "request_rate", None) == math.inf  # The limit alone is the load then.
        faster = self.options if is_at_once else self.scaled_rates(factor)
        return faster.model_copy(update={"max_concurrency": math.ceil(most * factor - 1e-9)})

    def scaled_rates(self, factor: float) -> OpenLoop:
        """Return the options with so many times the rate; raises InputError as ``scaled`` does."""
        return super().scaled(factor)

    def source(self, parts: WorkloadParts) -> RequestSource | FeedbackSource:
        """Return the source of the requests."""
        columns = self.columns(parts)
        if self.options.max_concurrency is None:
            return RequestStream(columns)
        return LimitedClient(columns, self.options.max_concurrency, round(self.options.reaction_ms * NS_PER_MS))


def kind_of(config: WorkloadConfig) -> WorkloadKind[Any]:
    """Return the kind of a workload section."""
    return WORKLOAD_KINDS.chosen_by(config).part(config)


def open_loop_columns(config: WorkloadConfig, parts: WorkloadParts) -> ColumnSource:
    """Return the columns of a part that must not react."""
    kind = kind_of(config)
    if kind.reacts:
        raise InputError(
            f"workload: a part of kind '{config.kind}' that reacts to how requests fare (or has max_concurrency) "
            "cannot stand inside phases, or inside a mix with max_concurrency"
        )
    return kind.columns(parts)
