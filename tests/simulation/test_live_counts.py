"""Counts of live snapshots over a whole run: none falls, whatever befalls a replica."""

from itertools import pairwise

from cluster_sim.config.schema.study import Study
from cluster_sim.metrics.live import LiveSnapshot
from cluster_sim.metrics.live_feed import LiveFeed, LiveSource
from cluster_sim.metrics.live_progress import are_below, counts_of
from cluster_sim.simulation.executor import RunOutputs
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.plan import make_plan

LEAVING = {
    "workload": {
        "kind": "synthetic",
        "count": 40,
        "arrivals": {"kind": "constant", "request_rate": 20},
        "lengths": {"prompt": {"kind": "fixed", "value": 16}, "output": {"kind": "fixed", "value": 8}},
    },
    "fleet": {
        "pools": [{"model": "llama-3-8b", "device": "h100-sxm", "replicas": 2, "drain_grace_s": 0.05}],
        "network": {"router_to_replica_ms": 0.5, "replica_to_router_ms": 0.5},
    },
    "router": {"policy": "round_robin", "retries": {"max_retries": 3}},
    "autoscaler": {
        "kind": "schedule",
        "entries": [{"at_s": 0.0, "replicas": 2}, {"at_s": 1.0, "replicas": 1}],
        "period_s": 100.0,
    },
    "predictor": {"kind": "linear", "alpha_us": 210_000},
}
"""Two replicas whose steps take 0.21 s; one leaves in the middle of a step, which counts up to then."""


class EveryFeed(LiveFeed):
    """Takes a snapshot in each of the first rounds of the run; a run that is always asked never ends."""

    def __init__(self) -> None:
        super().__init__()
        self.snapshots: list[LiveSnapshot] = []

    @property
    def is_asked(self) -> bool:
        return len(self.snapshots) < 400

    @property
    def pause_s(self) -> float:
        return 0.0

    def publish(self, snapshot: LiveSnapshot, cost_s: float = 0.0, *, is_last: bool = False) -> None:  # noqa: ARG002
        self.snapshots.append(snapshot)


def test_no_count_falls_when_a_replica_leaves() -> None:
    """What a replica is busy with is counted up to the present, not to the end of the step that its end cuts off."""
    source = LiveSource()
    source.feed = feed = EveryFeed()
    outputs = RunOutputs(monitor=MonitorSettings(is_live=True), live=source)
    outcome = InlineExecutor().run(make_plan(Study.from_dict(LEAVING)).simulation(), outputs)
    assert len(feed.snapshots) > 20
    counts = [counts_of(snapshot) for snapshot in feed.snapshots]
    assert not any(are_below(later, earlier) for earlier, later in pairwise(counts))
    (left,) = (replica.counters for replica in outcome.replicas if replica.counters.left_ns >= 0)
    busy_ns = feed.snapshots[-1].engines.figure("busy_ns")
    assert sum(left.busy_ns) in busy_ns.tolist()
