"""Pickers by hand, and their draws in the long run."""

from collections import Counter

import numpy as np
import pytest

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.parts import Picker
from tests.routing.endpoint_picker.picking import config, request, scheduler


def picks(name: str, scores: list[float], count: int) -> Counter[int]:
    built = scheduler(config(name), len(scores))
    picker = built.parts.find(name)
    assert isinstance(picker, Picker)
    positions = built.endpoints.everybody
    return Counter(
        picker.pick(Decision(request(number), 0, built.endpoints), positions, np.array(scores), "default")
        for number in range(count)
    )


def test_max_score_picker() -> None:
    """The highest score wins; equal ones are drawn, each about as often."""
    assert picks("max-score-picker", [0.2, 0.9, 0.4], 20) == {1: 20}
    drawn = picks("max-score-picker", [0.9, 0.2, 0.9], 1000)
    assert set(drawn) == {0, 2}
    assert abs(drawn[0] - 500) < 80


def test_random_picker() -> None:
    """Scores do not matter."""
    drawn = picks("random-picker", [0.0, 1.0, 0.5], 3000)
    assert all(abs(drawn[position] - 1000) < 120 for position in range(3))


def test_weighted_random_picker() -> None:
    """Scores of 1, 3 and 0 are drawn as 1 : 3 : 0; with nothing but zeros all are."""
    drawn = picks("weighted-random-picker", [0.25, 0.75, 0.0], 4000)
    assert drawn[2] == 0
    assert abs(drawn[0] - 1000) < 120
    assert set(picks("weighted-random-picker", [0.0, 0.0], 50)) == {0, 1}


@pytest.mark.parametrize("name", ["max-score-picker", "random-picker", "weighted-random-picker"])
def test_draws_are_keyed_by_the_request(name: str) -> None:
    """The same requests are drawn the same whoever came before, and otherwise with another seed."""
    chosen = []
    for seed, numbers in ((7, range(40)), (7, range(20, 40)), (8, range(40))):
        built = scheduler(config(name), 4, seed=seed)
        chosen.append([built.schedule(request(number), 0, None, None).decode for number in numbers])
    assert chosen[0][20:] == chosen[1]
    assert chosen[0] != chosen[2]
