"""Laws that every run obeys, on random small studies of whole services."""

from pathlib import Path
from random import Random

import pytest

from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from tests.actors.matrix import study_of
from tests.fleet.drawn_fleets import draw_study


@pytest.mark.parametrize("seed", [1, 2, 13, 51, 72, 102, 109, 119, 127, 139])
def test_every_check_holds(seed: int, tmp_path: Path) -> None:
    """Requests, tokens, blocks, transfers, and Little's law where nothing fails; some with failures and lost links."""
    result = run_study(study_of(**draw_study(Random(seed))), RunOptions(executor="inline", out=tmp_path / "run"))
    assert [name for name, check in result.summary["checks"].items() if not check["holds"]] == []
