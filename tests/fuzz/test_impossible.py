"""Impossible devices, models and engine settings: all are refused."""

from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from cluster_sim.config.loading.load import load_study
from cluster_sim.errors import InputError
from cluster_sim.simulation.plan import make_plan
from tests.fuzz.impossible import impossible, possible, roomy_study
from tests.fuzz.impossible_fleets import possible_fleet


def refused(folder: Path, study: dict[str, Any], files: dict[str, dict[str, Any] | None]) -> str:
    """Return why a study is refused, empty if it is not; ``files`` are the device's and the model's own."""
    for key, file in files.items():
        if file is not None:
            study["fleet"]["pools"][0][key] = f"{key}.yaml"
            (folder / f"{key}.yaml").write_text(yaml.safe_dump(file))
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    try:
        make_plan(load_study(folder / "study.yaml")).simulation()
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("topic", ["devices", "models"])
def test_what_is_changed_is_possible_before(tmp_path: Path, topic: str) -> None:
    """Every file that the impossible ones are made of is taken as it is."""
    key = topic.removesuffix("s")
    assert [reason for file in possible(topic) if (reason := refused(tmp_path, roomy_study(), {key: file}))] == []
    assert len(possible(topic)) >= 16


def test_fleets_are_possible_before(tmp_path: Path) -> None:
    """The drawn services that the impossible ones are made of are taken as they are."""
    assert [reason for seed in range(25) if (reason := refused(tmp_path, possible_fleet(Random(seed)), {}))] == []


@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.acceptance)])
def test_nothing_impossible_is_simulated(tmp_path: Path, count: int) -> None:
    """Devices, models and engines with one figure beyond what is possible are wrong input."""
    drawn = islice(impossible(Random(count)), count)
    taken = [
        change
        for change, study, device, model in drawn
        if not refused(tmp_path, study, {"device": device, "model": model})
    ]
    assert taken == []
