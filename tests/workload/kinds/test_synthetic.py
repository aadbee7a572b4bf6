"""Drawn requests."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from cluster_sim.workload.build import build_source
from cluster_sim.workload.source import RequestSource
from tests.workload.sections import fixed, synthetic


def test_synthetic_is_reproducible_and_seeded(rows: Callable[..., Any]) -> None:
    """The same seed gives the same rows, another seed others; changing lengths leaves arrivals alone."""
    one, again, other = rows(synthetic(), 1), rows(synthetic(), 1), rows(synthetic(), 2)
    assert np.array_equal(one.arrival_ns, again.arrival_ns)
    assert np.array_equal(one.prompt_tokens, again.prompt_tokens)
    assert np.array_equal(one.output_tokens, again.output_tokens)
    assert not np.array_equal(one.arrival_ns, other.arrival_ns)
    longer = rows(synthetic(lengths={"prompt": fixed(5), "output": fixed(6)}), 1)
    assert np.array_equal(one.arrival_ns, longer.arrival_ns)


def test_requests_come_in_bounded_lists_with_ids_in_order(parse: Callable[..., Any]) -> None:
    """No list has more than 4,096 requests; ids count from 0 in order of production; times never decrease."""
    source = build_source(parse(**synthetic(count=10_000)), 1)
    assert isinstance(source, RequestSource)
    chunks = list(source.chunks())
    assert [len(chunk) for chunk in chunks] == [4096, 4096, 1808]
    made = [one for chunk in chunks for one in chunk]
    assert [one.request_id for one in made] == list(range(10_000))
    assert all(one.arrival_ns <= two.arrival_ns for one, two in pairwise(made))
