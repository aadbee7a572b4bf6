"""Scaling of a study's fleet: what its control is built from, checked before time starts."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.hardware.sharding import shard
from cluster_sim.routing.scaling.fleet_control import Change, FleetControl, ReplicaCount
from cluster_sim.routing.scaling.limits import check_limits
from cluster_sim.routing.scaling.load_curve import LoadCurve
from cluster_sim.routing.scaling.rolling_upgrade import UpgradeOptions
from cluster_sim.routing.scaling.scaler_interface import SCALERS, AutoscalerOptions, ScaledPool
from cluster_sim.simulation.fleet_changes import timed_changes
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.build import reacts
from cluster_sim.workload.source import FeedbackSource

if TYPE_CHECKING:
    from cluster_sim.simulation.plan import PoolPlan
    from cluster_sim.simulation.simulation import ComponentFactory, Simulation


def fleet_control(
    study: Study, pools: "Sequence[PoolPlan]", made: tuple[UpgradeOptions, ...], *, is_always_there: bool = False
) -> "tuple[ComponentFactory, ...]":
    """Return what builds the control of a fleet that changes, or nothing; raises InputError, which begins with the key.

    ``made`` are the upgrades that changes of pools have become.  ``is_always_there`` builds a control even if nothing
    changes yet.
    """
    scaled = [_scaled_pool(study, planned) for planned in pools]
    changes = timed_changes(study, {pool.name: pool.model for pool in scaled}, made)
    options = study.autoscaler
    if options is not None:
        _check_scaler(study, options, scaled)
    _check_empty_pools(study, changes, made)
    if options is None and not changes and not is_always_there:
        return ()
    return (partial(_build, scaled, changes, options),)


def acted_on(study: Study, pools: "Sequence[PoolPlan]") -> list[ScaledPool]:
    """Return the pools that a study's autoscaler acts on, as it knows them."""
    assert study.autoscaler is not None
    names = study.autoscaler.pools or [planned.pool.name for planned in pools]
    return [_scaled_pool(study, planned) for planned in pools if planned.pool.name in names]


def _build(
    pools: list[ScaledPool], changes: list[tuple[int, Change]], options: AutoscalerOptions | None, run: "Simulation"
) -> FleetControl:
    return FleetControl(pools, changes, options, partial(_load, run))


def _load(run: "Simulation", bin_ns: int) -> LoadCurve:
    source = run.source()
    assert not isinstance(source, FeedbackSource), "refused before"
    return LoadCurve.of(source.chunks(), bin_ns)


def cold_start_ns(planned: "PoolPlan") -> int:
    """Return how long a replica of a pool takes to start."""
    pool = planned.pool
    stages = [shard(planned.hardware, stage).resident_bytes for stage in range(pool.pipeline_parallel)]
    return pool.cold_start.total_ns(round(sum(stages) * pool.tensor_parallel * pool.data_parallel))


def _scaled_pool(study: Study, planned: "PoolPlan") -> ScaledPool:
    pool, hardware, options = planned.pool, planned.hardware, study.autoscaler
    is_scaled = options is not None and pool.name in (options.pools or [pool.name])
    bounds = options.bounds_of(pool.name) if options is not None and is_scaled else None
    return ScaledPool(
        pool.name,
        hardware.model.name,
        pool.device,
        pool.role or "both",
        pool.gpus_per_replica,
        planned.usd_per_hour,
        bounds.min_replicas if bounds is not None else 0,
        bounds.max_replicas if bounds is not None else pool.replicas,
        cold_start_ns(planned),
        round(pool.drain_grace_s * NS_PER_S),
    )


def _check_scaler(study: Study, options: AutoscalerOptions, pools: Sequence[ScaledPool]) -> None:
    known = [pool.name for pool in pools]
    scaled = [pool for pool in pools if pool.name in (options.pools or known)]
    check_limits(options, scaled, known)
    part = SCALERS.chosen_by(options).part
    if part.knows_load and reacts(study.workload):
        raise InputError(
            f"autoscaler.kind: {options.kind} must know the load, but this workload sends requests when earlier ones "
            "have ended; take another scaler, or a workload of fixed arrivals"
        )
    part(options, scaled)


def _check_empty_pools(study: Study, changes: Sequence[tuple[int, Change]], made: Sequence[UpgradeOptions]) -> None:
    """Refuse pools without a replica that nothing gives any."""
    filled = {upgrade.to for upgrade in (*study.upgrades, *made)}
    filled |= {study.fleet.pools[change.pool].name for _, change in changes if isinstance(change, ReplicaCount)}
    scaled = study.autoscaler
    for index, pool in enumerate(study.fleet.pools):
        is_scaled = scaled is not None and pool.name in (scaled.pools or [pool.name])
        if not pool.replicas and not is_scaled and pool.name not in filled:
            raise InputError(
                f"fleet.pools.{index}.replicas: 0, and nothing starts any: set at least 1, or let the autoscaler, an "
                "upgrade or run.changes start them"
            )
