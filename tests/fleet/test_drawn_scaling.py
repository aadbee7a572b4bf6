"""Random small studies whose fleets change: the same results in every executor, and nothing is lost."""

from random import Random

import pytest

from tests.actors.matrix import study_of
from tests.equality import equal_everywhere
from tests.fleet.drawn_fleets import draw_study
from tests.fleet.drawn_scaling import add_scaling


@pytest.mark.parametrize("seed", range(16))
def test_drawn_changing_fleets_are_equal_everywhere(seed: int) -> None:
    """Rows, counters and series do not depend on single steps, placement or delays."""
    random = Random(1000 + seed)
    study = draw_study(random)
    study.pop("autoscaler", None)
    study["run"].pop("changes", None)
    add_scaling(random, study)
    equal_everywhere(study_of(**study), seed, placements=2)
