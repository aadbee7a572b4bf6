"""Run options: requests of a caller beside the study itself, none of which changes a result."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cluster_sim.config.schema.study import Study
from cluster_sim.metrics.metrics_options import MetricsOptions

ExecutorName = Literal["auto", "inline", "ray"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The run that another one branches off."""

    study: Study
    at_ns: int
    """Up to when, exclusively, both are the same."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Executor, place of the results, and monitoring of one run."""

    executor: ExecutorName | None = None
    """Overrides the study's ``run.executor``."""
    address: str | None = None
    """Ray cluster to join; None starts a local one where Ray is used and stops it afterwards."""
    min_cpus: float | None = None
    """CPUs that a Ray cluster must have before actors are placed on it; None takes what there is."""
    out: Path | None = None
    """Run directory; None means ``runs/<name>-<config hash>``."""
    metrics: MetricsOptions | None = None
    """Where live Prometheus metrics are served; None serves none."""
    resumes: bool = False
    """Whether to go on from the last snapshot of a run that was broken off in the run directory."""
    origin: Origin | None = None
    """The run whose state is in the run directory, if it is resumed as another one."""
    is_verbose: bool = False
    """Whether the notes at the end say why the executor was chosen."""
    needs_service: bool = True
    """Whether a run of which no replica could run a single request is wrong input; a search takes it for an answer."""
    is_paranoid: bool = False
    """Whether the full state of every replica that a window has moved is checked: slow."""
    is_profiled: bool = False
    """Whether a profile of the simulation is written, which makes it about twice as slow; for the executor inline."""
    speedup: float | None = None
    """Simulated seconds per wall second to pace the run at; None runs as fast as possible."""
