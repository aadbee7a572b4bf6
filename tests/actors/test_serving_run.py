"""Serving runs on actors: the part of a group of replicas imports little."""

import pickle
import subprocess
import sys
from pathlib import Path

from actors.serving_run import ServingRun
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.plan import make_plan
from tests.actors.matrix import small_study

PROGRAM = """
import pickle, sys
run = pickle.load(open(sys.argv[1], "rb"))
run.codec()
group = run.group_runtime([0, 2], is_staged=False)
assert sorted(group.group.processes) == [1, 3]
heavy = ("ray", "pyarrow", "pandas", "cluster_sim.output", "cluster_sim.metrics.server", "typer")
print([name for name in heavy if name in sys.modules])
"""


def test_a_group_of_replicas_imports_no_tables(checkout: Path, tmp_path: Path) -> None:
    """Each actor pays for its imports with time and memory: replicas need no tables, live metrics or study files."""
    run = ServingRun(make_plan(small_study("least_loaded")).simulation(), None, MonitorSettings())
    file = tmp_path / "run.pickle"
    file.write_bytes(pickle.dumps(run))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file)], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr
