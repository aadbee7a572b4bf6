"""Schedule: given numbers of replicas at given times, as a cron job or KEDA's cron trigger sets them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.routing.scaling.load_curve import LoadCurve
from cluster_sim.routing.scaling.metrics import ScalerMetrics
from cluster_sim.routing.scaling.scaler_interface import MOST_SCALED, SCALERS, AutoscalerOptions, ScaledPool, Scaler
from cluster_sim.units import NS_PER_S

ReplicaCount = Annotated[int, Field(ge=0, le=MOST_SCALED)]


class ScheduleEntry(ConfigModel):
    """Numbers of replicas from one time on."""

    at_s: float = Field(ge=0, le=LONGEST_RUN_S, description="Time of the change.")
    replicas: ReplicaCount | dict[str, ReplicaCount] = Field(
        description="Replicas of every pool, or of single pools by name; pools that are not named keep theirs."
    )


class ScheduleOptions(AutoscalerOptions):
    """Given numbers of replicas at given times."""

    kind: Literal["schedule"] = Field("schedule", description="Given numbers at given times.")
    entries: tuple[ScheduleEntry, ...] = Field(min_length=1, description="The changes, in the order of their times.")
    period_s: float | None = Field(
        None, gt=0, le=LONGEST_RUN_S, description="Time after which the schedule begins again; null never does."
    )

    example: ClassVar[Mapping[str, Any]] = {"entries": [{"at_s": 0, "replicas": 2}, {"at_s": 60, "replicas": 6}]}

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        times = [entry.at_s for entry in self.entries]
        if times != sorted(set(times)):
            raise ValueError("entries: at_s must rise from entry to entry")
        if self.period_s is not None and times[-1] >= self.period_s:
            raise ValueError(f"period_s: must be above the last entry's at_s, {times[-1]:g}")
        return self


@SCALERS.register("schedule", ScheduleOptions)
class Schedule(Scaler):
    """Sets numbers at times."""

    def __init__(self, options: ScheduleOptions, pools: Sequence[ScaledPool], load: LoadCurve | None = None) -> None:
        super().__init__(options, pools, load)
        self._entries = [(round(entry.at_s * NS_PER_S), entry.replicas) for entry in options.entries]
        self._period_ns = round((options.period_s or 0) * NS_PER_S)
        names = [pool.name for pool in pools]
        for index, entry in enumerate(options.entries):
            unknown = [
                name for name in (entry.replicas if isinstance(entry.replicas, dict) else ()) if name not in names
            ]
            if unknown:
                raise InputError(
                    f"autoscaler.entries.{index}.replicas: {unknown[0]!r} is not a pool that the scaler acts on; those "
                    f"are {', '.join(names)}"
                )

    @property
    def first_ns(self) -> int:
        """The time of the first entry."""
        return self._entries[0][0]

    def next_ns(self, now_ns: int) -> int:
        """Return the time of the next entry."""
        round_ns = now_ns // self._period_ns * self._period_ns if self._period_ns else 0
        for start_ns in (round_ns, round_ns + self._period_ns):
            for at_ns, _ in self._entries:
                if start_ns + at_ns > now_ns:
                    return start_ns + at_ns
        return -1

    def decide(self, metrics: ScalerMetrics, now_ns: int) -> dict[str, int]:
        """Return the numbers of the entry that holds now, those of earlier ones where it does not name a pool."""
        desired = {pool.name: metrics.pools[pool.name].wanted for pool in self.pools}
        within_ns = now_ns % self._period_ns if self._period_ns else now_ns
        for at_ns, replicas in self._entries:
            if at_ns <= within_ns:
                desired.update(replicas if isinstance(replicas, dict) else dict.fromkeys(desired, replicas))
        return desired
