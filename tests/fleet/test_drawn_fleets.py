"""Random small studies of whole services: the same results in every executor."""

from random import Random

import pytest

from tests.actors.matrix import study_of
from tests.equality import equal_everywhere
from tests.fleet.drawn_fleets import draw_study


@pytest.mark.parametrize("seed", range(20))
def test_drawn_fleets_are_equal_everywhere(seed: int) -> None:
    """Rows, counters and series do not depend on single steps, placement or delays."""
    equal_everywhere(study_of(**draw_study(Random(seed))), seed, placements=2)
