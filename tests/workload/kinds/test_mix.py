"""Several workloads at once."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.workload.columns import ColumnSource, concatenate
from cluster_sim.workload.kinds.mix import MergedColumns
from tests.workload.listed_columns import ListedColumns
from tests.workload.sections import synthetic


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 7)), min_size=1, max_size=4),
    st.none() | st.integers(1, 30),
)
def test_merging_is_a_stable_merge(parts: list[tuple[list[int], int]], first: int | None) -> None:
    """The merge holds every row once, in order of time, equal times in order of the parts, cut after ``first``."""
    sources: list[ColumnSource] = [ListedColumns(sorted(times), block, tag) for tag, (times, block) in enumerate(parts)]
    merged = concatenate(list(MergedColumns(sources, first).columns()))
    expected = sorted((time, tag) for tag, (times, _) in enumerate(parts) for time in times)
    pairs = list(zip(merged.arrival_ns.tolist(), merged.prompt_tokens.tolist(), strict=True))
    assert pairs == expected[:first]


def test_mixes_add_rates_and_keep_parts_apart(rows: Callable[..., Any]) -> None:
    """Two Poisson parts make one of the summed rate; equal parts draw differently; tenants stay with their rows."""
    parts = [synthetic(10, count=None, duration_s=500, traits={"tenant": name}) for name in ("a", "b")]
    block = rows({"kind": "mix", "parts": parts})
    assert len(block) == pytest.approx(10_000, abs=400)
    counts = Counter(one.tenant for one in block.attributes)
    assert counts["a"] == pytest.approx(5000, abs=280)
    assert counts["a"] != counts["b"]
    alone = rows(parts[0])
    of_first = [index for index, one in enumerate(block.attributes) if one.tenant == "a"]
    for name in ("arrival_ns", "prompt_tokens", "output_tokens"):
        assert np.array_equal(getattr(block, name)[of_first], getattr(alone, name))
    assert len(rows({"kind": "mix", "parts": parts, "first": 100})) == 100
