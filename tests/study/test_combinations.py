"""Combinations of a sweep: grid, zip, list and samples, and the conditions on them."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from cluster_sim.config.schema.sweep import Sweep
from cluster_sim.errors import InputError
from cluster_sim.study.combinations import combinations


def of(**parts: Any) -> list[dict[str, Any]]:
    """Return the combinations of a block."""
    return combinations(Sweep.model_validate(parts))


def test_every_combination_in_order() -> None:
    """Two entries, two pairs and two values make eight runs; the grid's last key changes fastest."""
    runs = of(list=[{"a": 1}, {"a": 2, "b": 5}], zip={"c": [1, 2], "d": ["x", "y"]}, grid={"e": [True, False]})
    assert len(runs) == 8
    assert runs[0] == {"a": 1, "c": 1, "d": "x", "e": True}
    assert runs[1] == {"a": 1, "c": 1, "d": "x", "e": False}
    assert runs[2] == {"a": 1, "c": 2, "d": "y", "e": True}
    assert runs[-1] == {"a": 2, "b": 5, "c": 2, "d": "y", "e": False}


def test_conditions_leave_combinations_out() -> None:
    """Of nine layouts six have at most eight GPUs."""
    grid = {"replicas": [1, 2, 4], "tensor_parallel": [1, 2, 4]}
    runs = of(grid=grid, where=["replicas * tensor_parallel <= 8", "tensor_parallel != 1 or replicas > 1"])
    assert [tuple(run.values()) for run in runs] == [(1, 2), (1, 4), (2, 1), (2, 2), (2, 4), (4, 1), (4, 2)]


def test_a_latin_hypercube_has_a_point_in_every_slice() -> None:
    """Ten points over a range from 1 to 100: one in each tenth of the logarithm, and of a list of five two each."""
    ranges = {"x": {"min": 1, "max": 100, "scale": "log"}, "y": ["a", "b", "c", "d", "e"], "z": {"min": 0, "max": 1}}
    runs = of(sample={"count": 10, "seed": 4, "ranges": ranges})
    slices = sorted(int(10 * share) for share in (0.0 if run["x"] <= 1 else _share(run["x"]) for run in runs))
    assert slices == list(range(10))
    assert sorted(run["y"] for run in runs) == sorted("aabbccddee")
    assert sorted(int(10 * run["z"]) for run in runs) == list(range(10))
    assert runs == of(sample={"count": 10, "seed": 4, "ranges": ranges})
    assert runs != of(sample={"count": 10, "seed": 5, "ranges": ranges})


def _share(value: float) -> float:
    """Return where a value lies between 1 and 100 on a log scale."""
    return math.log(value) / math.log(100)


def test_a_sobol_sequence_halves_every_range() -> None:
    """Sixteen points, eight of them in each half; whole numbers come equally often."""
    ranges = {"x": {"min": 0, "max": 8}, "n": {"min": 1, "max": 4, "is_whole": True}}
    runs = of(sample={"method": "sobol", "count": 16, "ranges": ranges})
    assert sum(run["x"] < 4 for run in runs) == 8
    assert sorted(run["n"] for run in runs) == sorted([1, 2, 3, 4] * 4)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "varies no key"),
        ({"grid": {"seed": []}}, "seed has no values"),
        ({"grid": {"seed": [1]}, "zip": {"seed": [1]}}, "stands in two of"),
        ({"zip": {"a": [1, 2], "b": [1]}}, "as many values of each key; got a 2, b 1"),
        ({"grid": {"sweep.grid": [1]}}, "cannot be varied"),
        ({"sample": {"count": 2, "ranges": {"a": {"min": 2, "max": 1}}}}, "must not be above max"),
        ({"sample": {"count": 2, "ranges": {"a": {"min": 0, "max": 1, "scale": "log"}}}}, "above 0 on a log scale"),
        ({"sample": {"count": 2, "ranges": {"a": {"min": 0.2, "max": 0.8, "is_whole": True}}}}, "no whole number"),
        ({"grid": {"a": list(range(200)), "b": list(range(200))}}, "40,000 combinations, more than 20,000"),
    ],
)
def test_what_is_wrong(parts: dict[str, Any], message: str) -> None:
    """Each with its reason."""
    with pytest.raises(ValidationError, match=message):
        Sweep.model_validate(parts)


def test_contradictory_conditions() -> None:
    """Nothing is left."""
    with pytest.raises(InputError, match="none of the 2 combinations fulfils all conditions"):
        of(grid={"seed": [1, 2]}, where=["seed > 1", "seed < 2"])
