"""Drawn requests."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from tests.workload.sections import fixed, synthetic


def test_synthetic_is_reproducible_and_seeded(rows: Callable[..., Any]) -> None:
    """The same seed gives the same rows, another seed others; changing lengths leaves arrivals alone."""
    one, again, other = rows(synthetic(), 1), rows(synthetic(), 1), rows(synthetic(), 2)
    assert np.array_equal(one.arrival_ns, again.arrival_ns)
    assert np.array_equal(one.prompt_tokens, again.prompt_tokens)
    assert not np.array_equal(one.arrival_ns, other.arrival_ns)
    longer = rows(synthetic(lengths={"prompt": fixed(5), "output": fixed(6)}), 1)
    assert np.array_equal(one.arrival_ns, longer.arrival_ns)


def test_requests_come_in_bounded_lists_with_ids_in_order(requests: Callable[..., Any]) -> None:
    """Ids count from 0 in order of production and arrival times never decrease."""
    made = requests(synthetic(count=10_000))
    assert [one.request_id for one in made] == list(range(10_000))
    assert all(one.arrival_ns <= two.arrival_ns for one, two in pairwise(made))
