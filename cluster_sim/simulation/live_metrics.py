"""Live metrics of one run: the server, its snapshots, and the end of the run, which a scraper sees."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.live import (
    EngineMembers,
    FleetLive,
    GenerationMeter,
    LiveSnapshot,
    RequestsLive,
    TrafficLive,
    opening_snapshot,
)
from cluster_sim.metrics.live_feed import LiveSource
from cluster_sim.metrics.live_figures import EngineFigures, figures_row
from cluster_sim.metrics.live_ranks import final_rows, rank_figures
from cluster_sim.metrics.metrics_options import MetricsOptions
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.metrics.seen_file import SEEN_FILE, read_seen
from cluster_sim.metrics.separate_server import SeparateServer
from cluster_sim.simulation.executor import ReplicaResult
from cluster_sim.simulation.run_recorder import new_totals
from cluster_sim.units import NS_PER_S


class LiveMetrics:
    """The live metrics of one run."""

    def __init__(
        self,
        metadata: RunMetadata,
        run: str,
        run_labels: dict[str, str],
        options: MetricsOptions,
        partial: Path,
        *,
        resumes: bool = False,
    ) -> None:
        """``run`` is the label of every series, ``run_labels`` describe the run.

        ``partial`` is the directory of the unfinished run, where what the last page told that was read is kept: one
        that ``resumes`` is served from there on, so that no counter falls.
        """
        self.source = LiveSource()
        self._seen = partial / SEEN_FILE
        if resumes and (seen := read_seen(self._seen)) is not None:
            feed = self.source.feed
            feed.floor_s, feed.least_traffic, feed.least_counts = seen.simulated_s, seen.traffic, seen.counts
        self._metadata = metadata
        self._linger_s = options.linger_s
        exposition = Exposition(metadata, run, run_labels, options.names)
        self.members = exposition.members
        totals, ranks = new_totals(metadata), rank_figures(metadata, self.members)
        opening = opening_snapshot(metadata, totals, self.members)
        self.source.feed.publish(opening if ranks is None else ranks.shown(opening, totals))
        self._server = SeparateServer(options.port, exposition, self.source, self._seen, options.host)

    @property
    def port(self) -> int:
        """The port that is served."""
        return self._server.port

    def finish(self, snapshot: LiveSnapshot) -> None:
        """Serve the figures of the finished run; see ``final_snapshot``."""
        self._server.finish()
        self._seen.unlink(missing_ok=True)
        self.source.finish(snapshot)

    def linger(self) -> None:
        """Wait until a scraper that has been seen has read the last page, or for as long as that may take."""
        with suppress(KeyboardInterrupt):
            self._server.await_scrape(self._linger_s)

    def close(self) -> None:
        """Stop serving."""
        self.source.feed.end()
        self._server.close()


@contextmanager
def live_metrics(
    metadata: RunMetadata,
    run: str,
    run_labels: dict[str, str],
    options: MetricsOptions,
    partial: Path,
    *,
    resumes: bool = False,
) -> Iterator[LiveMetrics]:
    """Serve live metrics while the context lasts; raises InputError if the port cannot be served."""
    live = LiveMetrics(metadata, run, run_labels, options, partial, resumes=resumes)
    try:
        yield live
    finally:
        live.close()


def final_snapshot(
    metadata: RunMetadata,
    members: EngineMembers,
    totals: RequestTotals,
    replicas: Sequence[ReplicaResult],
    fleet: FleetLive,
    *,
    arrived: int,
    end_ns: int,
    wall_s: float,
    joined_pools: Sequence[int],
    traffic: TrafficLive,
) -> LiveSnapshot:
    """Return the snapshot of a finished run: nothing runs or waits any more."""
    groups = members.groups(joined_pools)
    engines = EngineFigures(np.array([figures_row(0, 0, 0, replica.counters) for replica in replicas], np.int64))
    ranks = rank_figures(metadata, members)
    if groups is not None:
        engines = engines.grouped(groups)
    end_s = end_ns / NS_PER_S
    snapshot = LiveSnapshot(
        simulated_s=end_s,
        wall_s=wall_s,
        speedup_ratio=end_s / wall_s if wall_s > 0 else 0.0,
        arrived=arrived,
        engines=engines,
        requests=RequestsLive.copy_of(totals, groups),
        fleet=fleet._replace(queued=0),
        generation_rates=GenerationMeter().measure(end_s, engines),
        traffic=traffic,
        completed_ratio=1.0,
        joined_pools=joined_pools,
    )
    if ranks is None:
        return snapshot
    for number, replica in enumerate(replicas):
        ranks.take(number, final_rows(replica.counters, replica.ranks))
    return ranks.shown(snapshot, totals)
