"""Independent simulations as Ray tasks."""

import math
import os

import pytest
import ray

from actors.sweep_tasks import run_tasks


@pytest.mark.ray
def test_results_errors_and_deaths() -> None:
    """Every task gives its result or what it raised; a task whose process dies gives an error, and the others go on."""
    outcomes = dict(run_tasks(math.sqrt, [4.0, -1.0, 9.0], None))
    assert (outcomes[0], outcomes[2]) == (2.0, 3.0)
    assert isinstance(outcomes[1], ValueError)
    assert not ray.is_initialized()
    ((position, died),) = run_tasks(os._exit, [1], None)
    assert position == 0
    assert isinstance(died, ray.exceptions.RayError)


def test_nothing_to_do_needs_no_cluster() -> None:
    """Without tasks no cluster is started."""
    assert list(run_tasks(math.sqrt, [], "nowhere:1")) == []
