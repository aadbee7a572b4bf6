"""A plan for a real trace against the simulation of every fleet."""

from pathlib import Path

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.metrics.verdicts import Verdict
from cluster_sim.simulation.process_pool import ProcessPool
from cluster_sim.study.limited_figures import load_limits
from cluster_sim.study.planning.evidence import FleetEvidence
from cluster_sim.study.planning.fleet_choice import Fleet, Layout, fleet_study
from cluster_sim.study.planning.plan_run import run_plan
from cluster_sim.study.planning.single_run import RunTask, make_run

SIZES = range(2, 9)
RUNS = 5
"""The trace and four bootstraps of it."""

pytestmark = pytest.mark.acceptance


@pytest.fixture
def base(shared: Path) -> Study:
    """Llama 3.1 70B on H100 under three times the load of the Azure conversation trace."""
    return Study.from_dict(
        {
            "name": "azure",
            "workload": {
                "kind": "trace",
                "path": str(shared / "traces/azure_llm_2023_conv.csv.gz"),
                "time_scale": 1 / 3,
            },
            "fleet": {"pools": [{"model": "llama-3.1-70b", "device": "h100-sxm"}]},
            "slo": {"ttft_p99_s": 2.0, "tpot_p99_s": 0.06},
            "plan": {"devices": ["h100-sxm"], "tensor_parallel": [4, 8]},
        }
    )


def test_the_answer_is_that_of_all_fleets(base: Study, tmp_path: Path) -> None:
    """The plan's fleet is the cheapest of 2 to 8 replicas of which every run meets the limits, error bands included."""
    answer = run_plan(base, tmp_path / "plan").document["answer"]
    fleets = [Fleet(Layout("h100-sxm", degree), (size,)) for degree in (4, 8) for size in SIZES]
    met = dict.fromkeys(fleets, True)
    with ProcessPool() as pool:
        tasks = {
            pool.submit(make_run, RunTask(fleet_study(base, fleet), number)): fleet
            for fleet in fleets
            for number in range(RUNS)
        }
        for _ in tasks:
            number, run = pool.next_ended()
            alone = FleetEvidence(tasks[number], load_limits(base.slo), 1)
            alone.runs[0] = run
            met[tasks[number]] &= alone.verdict is Verdict.MET
    cheapest = min((fleet for fleet, is_met in met.items() if is_met), key=lambda fleet: fleet.gpus)
    assert (answer["tensor_parallel"], tuple(answer["replicas"])) == (
        cheapest.layout.tensor_parallel,
        cheapest.replicas,
    )
    assert not met[Fleet(cheapest.layout, (cheapest.size - 1,))]
