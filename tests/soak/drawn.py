"""Studies of the soak test by their seeds, and their comparison."""

import json
from random import Random

import yaml

from cluster_sim.config.schema.study import Study
from tests.equality import equal_everywhere
from tests.fleet.drawn_fleets import draw_study


def study_yaml(seed: int) -> str:
    """Return the file of a drawn study."""
    text: str = yaml.safe_dump(draw_study(Random(seed)), sort_keys=False, width=120)
    return text


def compare(seed: int) -> int:
    """Compare the results of a drawn study in every executor of this process; return its number of requests.

    Raises AssertionError at a difference, and whatever a run raises.
    """
    study = Study.model_validate_json(json.dumps(draw_study(Random(seed))), strict=True)
    return len(equal_everywhere(study, seed, placements=2).rows)
