"""Studies of the soak test by their seeds, and their comparison."""

import json
from dataclasses import replace
from random import Random

import yaml

from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from tests.equality import outcome_everywhere
from tests.evidence import Evidence, outcome_of
from tests.fleet.drawn_fleets import draw_study
from tests.resumed import assert_survives_drops


def study_yaml(seed: int) -> str:
    """Return the file of a drawn study."""
    text: str = yaml.safe_dump(draw_study(Random(seed)), sort_keys=False, width=120)
    return text


def compare(seed: int) -> int:
    """Compare the results of a drawn study in every executor of this process, with its laws checked, and with its
    processes dropped and restored at random; return its number of requests, 0 if it gives up everywhere alike.

    Raises AssertionError at a difference, and whatever else a run raises.
    """
    study = Study.model_validate_json(json.dumps(draw_study(Random(seed))), strict=True)
    expected = outcome_everywhere(study, seed, placements=2)
    checked = replace(make_plan(study).simulation(), keeps_rows=True, is_paranoid=True)
    assert outcome_of(InlineExecutor(), checked) == expected
    assert_survives_drops(lambda: replace(make_plan(study).simulation(), keeps_rows=True), Random(seed).randrange)
    return len(expected.rows) if isinstance(expected, Evidence) else 0
