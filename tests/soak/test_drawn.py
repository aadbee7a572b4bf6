"""The soak test's own parts."""

import yaml

from tests.soak.drawn import compare, study_yaml


def test_a_study_is_repeated_by_its_seed() -> None:
    """A seed gives one study, another gives another, and its requests are counted."""
    assert study_yaml(4) == study_yaml(4) != study_yaml(5)
    assert yaml.safe_load(study_yaml(4))["name"] == "drawn"
    assert compare(4) > 0


def test_a_study_that_gives_up_does_so_everywhere() -> None:
    """Seed 72289 scales to no replica while requests wait at the router, in the same words everywhere."""
    assert compare(72289) == 0
