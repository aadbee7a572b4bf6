"""Single run of a plan: a function of its task, so that it can be made in any process, on any machine."""

from dataclasses import replace
from typing import NamedTuple

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.study.limited_figures import load_limits
from cluster_sim.study.replications import Replication, ReplicationTask, replication_of, run_replication


class RunKey(NamedTuple):
    """What names a run: its fleet, and the number of the replication."""

    fleet: str
    number: int


class RunTask(NamedTuple):
    """One run to make."""

    study: Study
    number: int
    """Of the replication."""

    @property
    def has_summary(self) -> bool:
        """Whether every figure of the summary is wanted."""
        return True


def make_run(task: RunTask) -> Replication:
    """Make a run in this process; keep of its samples what the limits are on."""
    quick = task.study.run.model_copy(update={"executor": "inline", "series_interval_s": 0.0})
    study = task.study.model_copy(update={"run": quick})
    run = run_replication(ReplicationTask(replication_of(study, task.number), task.number, has_summary=True))
    kept = {limit.sample for limit in load_limits(study.slo)}
    return replace(run, samples={name: values for name, values in run.samples.items() if name in kept})


def reason_of(error: Exception) -> str:
    """Return why a run failed, as a row says it."""
    kind = "" if isinstance(error, InputError | UnfinishedError) else f"{type(error).__name__}: "
    return f"{kind}{error}"
