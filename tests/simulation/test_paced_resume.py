"""Runs at a pace, from their beginning or resumed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster_sim.config.schema.study import Study
from cluster_sim.metrics.live_feed import LiveSource
from cluster_sim.recording.rows import FIELD
from cluster_sim.simulation.executor import NoCheckpoints, RunOutputs, TakeSnapshot
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run_snapshot import RunSnapshot
from tests.evidence import plain_rows
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


def test_what_the_end_leaves_unfinished_is_told_at_any_pace() -> None:
    """The router's last event, a refusal, sends nothing; how far the other request had come is told all the same."""

    def part(rate: float, prompt: int, output: int) -> dict[str, Any]:
        lengths = {"prompt": {"kind": "fixed", "value": prompt}, "output": {"kind": "fixed", "value": output}}
        arrivals = {"kind": "constant", "request_rate": rate}
        return {"kind": "synthetic", "count": 2, "arrivals": arrivals, "lengths": lengths}

    study = Study.model_validate(
        {
            "workload": {"kind": "mix", "parts": [part(10.0, 16, 5000), part(2.0, 20_000, 1)]},
            "fleet": {"pools": [{"model": "llama-3-8b", "device": "h100-sxm"}]},
            "router": {"policy": "round_robin"},
            "predictor": {"kind": "linear", "alpha_us": 20_000},
            "run": {"end_s": 0.7},
        }
    )
    found = []
    for speedup in (None, 2.0):
        simulation = replace(make_plan(study).simulation(), keeps_rows=True)
        outcome = InlineExecutor().run(simulation, RunOutputs(monitor=MonitorSettings(speedup)))
        assert outcome.hub.rows
        found.append([row for block in outcome.hub.rows for row in plain_rows(block)])
    plain, paced = found
    assert paced == plain
    assert max(row[FIELD["generated_tokens"]] for row in plain) > 20
