"""Independent simulations as Ray tasks."""

import math
import os
import re

import pytest
import ray

from actors.sweep_tasks import run_tasks
from cluster_sim.errors import InputError
from tests.actors.absent_package import absent_part, lacking


def root(value: float) -> float:
    """Return the square root; of infinity the process dies."""
    if value == math.inf:
        os._exit(1)
    return math.sqrt(value)


@pytest.mark.ray
def test_results_errors_and_deaths() -> None:
    """Every task is told as it is handed in and gives its result or what it raised; a task whose process dies gives an
    error, and the others go on.
    """
    begun: list[int] = []
    outcomes = dict(run_tasks(root, [4.0, -1.0, math.inf, 9.0], None, begun.append))
    assert begun == [0, 1, 2, 3]
    assert (outcomes[0], outcomes[3]) == (2.0, 3.0)
    assert isinstance(outcomes[1], ValueError)
    assert isinstance(outcomes[2], ray.exceptions.RayError)
    assert not ray.is_initialized()


@pytest.mark.ray
def test_missing_package_is_named() -> None:
    """A task whose package the node lacks gives wrong input that names package and node; the others go on.  So does
    one that finds no compiled kernel there.
    """
    with absent_part() as part:
        outcomes = dict(run_tasks(type, [part, 4.0], None))
    assert outcomes[1] is float
    assert isinstance(outcomes[0], InputError)
    assert re.search(r"^node \d+\..* lacks the package 'absent_parts'", str(outcomes[0]))
    ((_, error),) = run_tasks(lacking, [4.0], None)
    assert type(error) is InputError
    assert re.search(r"^node \d+\..*: run\.kernel: compiled asks ", str(error))


def test_nothing_to_do_needs_no_cluster() -> None:
    """Without tasks no cluster is started."""
    assert list(run_tasks(math.sqrt, [], "nowhere:1")) == []
