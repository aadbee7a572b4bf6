"""Settings of a replica, and the floors that its guarantees rest on."""

from dataclasses import dataclass, replace
from typing import Any, Self

from cluster_sim.engine.floor import FloorModel
from cluster_sim.engine.instant import NEVER, Instant
from cluster_sim.engine.observation import Grid, Observation
from cluster_sim.hardware.jitter import Jitter, least_factor
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.serving.lives.timeline import NO_FAULTS, Timeline
from cluster_sim.serving.scheduler_limits import SchedulerLimits


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """A replica's place in the fleet and in the run, beside its scheduler and predictor."""

    index: int
    """From 0 over the whole fleet; the replica's source is one more."""
    limits: SchedulerLimits
    return_ns: int
    sample_period_ns: int = 0
    """0 if nobody reads periodic telemetry."""
    sample_latency_ns: int = 0
    is_probed: bool = False
    """Perfect instantaneous telemetry: a sample after every advance that changed something."""
    samples_kv: bool = False
    """Whether somebody reads the KV usage, which changes with every step."""
    grids: tuple[Grid, ...] = ()
    """Further grids on which it is sampled."""
    reports_first_tokens: bool = False
    """Whether the router observes first tokens."""
    series_interval_ns: int = 0
    stall_limit_ns: int = 3_600_000_000_000
    """Simulated time without any token, while requests are here, after which the run is given up."""
    late_cancellation_ns: int | None = None
    """How long after a request's end its cancellation may still arrive: both links; None if no client gives up."""
    run_end: Instant = NEVER
    """Where the run ends, if the study says so."""
    reports_chunks: bool = False
    """Whether every chunk of a prompt that is computed for another replica is reported, not only the last."""
    jitters: tuple[Jitter, ...] = ()
    """Noise on the step times of each stage, or nothing."""
    timeline: Timeline = NO_FAULTS
    """The faults that befall it."""
    is_joining: bool = False
    """Whether it comes during the run, with a ``Join``; otherwise it is there from the beginning."""
    pool: str = ""
    """Name of its pool."""

    def observed_by(self, observation: Observation) -> Self:
        """Return the settings of the same replica for a router that observes something else."""
        return replace(self, **reports(observation))


def reports(observation: Observation) -> dict[str, Any]:
    """Return the settings that say what a replica reports to a router with this observation."""
    return {
        "sample_period_ns": observation.period_ns if observation.telemetry else 0,
        "sample_latency_ns": observation.latency_ns if observation.telemetry else 0,
        "is_probed": observation.is_instantaneous,
        "samples_kv": "kv_used_ratio" in observation.sampled_fields,
        "grids": observation.grids,
        "reports_first_tokens": observation.first_tokens,
    }


def floor_model(predictor: Predictor, limits: SchedulerLimits, jitter_ratio: float = 0.0) -> FloorModel:
    """Return the floors of a replica: what its guarantees, and the router's bounds for it, are made of.

    Noise lowers the floors of the steps by its least factor.
    """
    stages = range(predictor.stages)
    factor = least_factor(jitter_ratio)
    floors = [int(predictor.floor_ns(stage) * factor) for stage in stages]
    links = sum(predictor.stage_link_ns(1, stage) for stage in stages[:-1])
    return FloorModel(sum(floors) + links, max(floors), limits.is_async or predictor.stages == 1)
