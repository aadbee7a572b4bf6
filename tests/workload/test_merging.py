"""Several sources at once and one after the other."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.workload.columns import Columns, ColumnSource, concatenate
from cluster_sim.workload.merging import MergedColumns, PhasedColumns
from tests.workload.sections import synthetic


class Listed:
    """A source of given times, in blocks of given sizes; the prompt tells where a row came from."""

    def __init__(self, times: list[int], block: int, tag: int) -> None:
        self.times, self.block, self.tag = times, block, tag

    def columns(self) -> Any:
        for start in range(0, len(self.times), self.block):
            part = np.asarray(self.times[start : start + self.block], dtype=np.int64)
            yield Columns(part, np.full(len(part), self.tag), np.ones(len(part), dtype=np.int64))


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 7)), min_size=1, max_size=4),
    st.none() | st.integers(1, 30),
)
def test_merging_is_a_stable_merge(parts: list[tuple[list[int], int]], first: int | None) -> None:
    """The merge holds every row once, in order of time, equal times in order of the parts, cut after ``first``."""
    sources: list[ColumnSource] = [Listed(sorted(times), block, tag) for tag, (times, block) in enumerate(parts)]
    merged = concatenate(list(MergedColumns(sources, first).columns()))
    expected = sorted((time, tag) for tag, (times, _) in enumerate(parts) for time in times)
    pairs = list(zip(merged.arrival_ns.tolist(), merged.prompt_tokens.tolist(), strict=True))
    assert pairs == expected[:first]


def test_phases_follow_each_other() -> None:
    """Each phase is cut off at its end and shifted to its start; the sequence repeats."""
    sources = [(2.0, Listed([0, 1_000_000_000, 2_000_000_000], 1, 1)), (1.0, Listed([500_000_000], 1, 2))]
    whole = concatenate(list(PhasedColumns(sources, 2).columns()))
    assert (whole.arrival_ns / 1e9).tolist() == [0.0, 1.0, 2.5, 3.0, 4.0, 5.5]
    assert whole.prompt_tokens.tolist() == [1, 1, 2, 1, 1, 2]


def test_mixes_add_rates_and_keep_parts_apart(rows: Callable[..., Any]) -> None:
    """Two Poisson parts make one of the summed rate; equal parts draw differently; tenants stay with their rows."""
    parts = [synthetic(10, count=None, duration_s=500, traits={"tenant": name}) for name in ("a", "b")]
    block = rows({"kind": "mix", "parts": parts})
    assert len(block) == pytest.approx(10_000, abs=400)
    counts = Counter(one.tenant for one in block.attributes)
    assert counts["a"] == pytest.approx(5000, abs=280)
    assert counts["a"] != counts["b"]
    assert len(rows({"kind": "mix", "parts": parts, "first": 100})) == 100
