"""Joules per token against Splitwise's measured power."""

from pathlib import Path

import numpy as np
import pytest

from validation.power import DATASET, PowerPoint, errors_percent, fit_power, score_power


def test_a_plane_is_found_again() -> None:
    """Shares that are 0.3 + 0.5 x memory + 1.2 x arithmetic, capped at 1, give these coefficients."""
    demands = [(1.0, m, f) for m in (0.1, 0.3, 0.6) for f in (0.01, 0.2, 0.7)]
    points = [PowerPoint("prompt", 2, demand, min(1.0, 0.3 + 0.5 * demand[1] + 1.2 * demand[2])) for demand in demands]
    assert fit_power(points) == pytest.approx([0.3, 0.5, 1.2], abs=1e-6)
    points.append(PowerPoint("token", 2, (1.0, 0.2, 0.0), 0.5))
    assert errors_percent(points, np.array([0.3, 0.5, 1.2])) == {"prompt": pytest.approx(0), "token": pytest.approx(20)}


def test_joules_per_token_of_degrees_left_out(shared: Path) -> None:
    """With each degree of tensor parallelism left out, both phases are within 8 %."""
    folder = shared / "ground-truth" / DATASET
    if not folder.is_dir():
        pytest.skip(f"no {DATASET}")
    scores = score_power(folder)
    assert max(scores["degree left out"].values()) < 8
    assert max(scores["shipped"].values()) < 8
