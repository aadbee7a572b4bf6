"""Start of the command: packages that it does without, and Python's own work."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from cluster_sim.garbage import RARE, rare_collections

LATER = ("pandas", "plotly", "ray", "zmq", "prometheus_client", "asyncio", "http.server", "pyarrow.compute")
"""Packages that a plain inline run needs never, or at reports alone."""


@pytest.mark.parametrize(("arguments", "absent"), [(["validate"], (*LATER, "pyarrow")), (["run", "--out", "r"], LATER)])
def test_start_loads_what_it_needs(study_file: Path, tmp_path: Path, arguments: list[str], absent: tuple[str]) -> None:
    """``validate`` and an inline run load no package that they do without."""
    name, *options = arguments
    command = ["cluster-sim", name, str(study_file), "--set", "workload.count=10", *options]
    if name == "run":
        command += ["--executor", "inline"]
    code = (
        "import sys\nfrom cluster_sim.cli.app import main\n"
        f"sys.argv = {command!r}\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n"
        f"    print(end.code, sorted({set(absent)!r} & {{*sys.modules}}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_collections_are_rare_for_a_while() -> None:
    """Cycles are looked for after 700,000 new objects, and afterwards as often as before, whatever happens."""
    before = gc.get_threshold()
    during = []

    def fail() -> None:
        with rare_collections():
            during.append(gc.get_threshold())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert during == [(RARE, *before[1:])] == [(700_000, *before[1:])]
    assert gc.get_threshold() == before
