"""Runs that are resumed at another pace."""

from dataclasses import dataclass
from pathlib import Path

from cluster_sim.metrics.live_feed import LiveSource
from cluster_sim.simulation.executor import NoCheckpoints, RunOutputs, TakeSnapshot
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run_snapshot import RunSnapshot
from tests.small_run import small_study


@dataclass
class Once(NoCheckpoints):
    """Takes a snapshot at one window edge, or goes on from one."""

    edge: int = -1
    resumed: RunSnapshot | None = None
    is_active: bool = True

    def is_due(self) -> bool:
        """Return whether the edge has come."""
        self.edge -= 1
        return self.edge == 0

    def keep(self, take: TakeSnapshot) -> None:
        """Keep it."""
        self.resumed = take()


def test_a_resumed_run_may_be_paced_from_below_its_clock(tmp_path: Path) -> None:
    """What ran as fast as possible goes on at a pace that begins far below it, watched from its first window on."""
    study = small_study(tmp_path)
    taken = Once(edge=20)
    whole = InlineExecutor().run(make_plan(study).simulation(), RunOutputs(checkpoints=taken))
    assert taken.resumed is not None
    resumed = Once(resumed=taken.resumed._replace(wall_s=1e-6))
    outputs = RunOutputs(checkpoints=resumed, monitor=MonitorSettings(5.0, is_live=True), live=LiveSource())
    paced = InlineExecutor().run(make_plan(study).simulation(), outputs)
    assert paced.hub.digest == whole.hub.digest
    assert paced.hub.totals == whole.hub.totals
