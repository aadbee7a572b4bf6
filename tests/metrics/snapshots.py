"""Snapshots made by hand."""

from collections.abc import Mapping, Sequence

import numpy as np

from cluster_sim.metrics.live import (
    Adapters,
    EngineMembers,
    FleetLive,
    LiveSnapshot,
    PoolLive,
    RequestsLive,
    TrafficLive,
)
from cluster_sim.metrics.live_figures import EngineFigures, figures_row
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.recording.replica_log import ReplicaLog


def snapshot_of(
    metadata: RunMetadata,
    totals: RequestTotals,
    logs: Sequence[ReplicaLog],
    states: Sequence[tuple[int, int, int]],
    *,
    engine_limit: int = 64,
    simulated_s: float = 0.04,
    arrived: int = 4,
    joined_pools: Sequence[int] = (),
    fleet: FleetLive | None = None,
    adapters: Mapping[int, Adapters] | None = None,
) -> LiveSnapshot:
    """Return the snapshot of a run whose replicas have these logs, and (running, waiting, KV blocks in use) now."""
    groups = EngineMembers(metadata, engine_limit).groups(joined_pools)
    rows = [figures_row(*state, log.counters()) for log, state in zip(logs, states, strict=True)]
    engines = EngineFigures(np.array(rows, np.int64))
    if groups is not None:
        engines = engines.grouped(groups)
    return LiveSnapshot(
        simulated_s=simulated_s,
        wall_s=0.01,
        speedup_ratio=4.0,
        arrived=arrived,
        engines=engines,
        requests=RequestsLive.copy_of(totals, groups),
        fleet=fleet or FleetLive(tuple(PoolLive(pool.replicas) for pool in metadata.pools)),
        generation_rates=engines.figure("generated_tokens") / max(simulated_s, 1e-9),
        traffic=TrafficLive(3, 4, 5, 6),
        completed_ratio=1.0,
        joined_pools=joined_pools,
        adapters=adapters or {},
    )
