"""Tests of the progress of live snapshots."""

from dataclasses import replace

import numpy as np
import pytest

from cluster_sim.metrics.live import EngineMembers, opening_snapshot
from cluster_sim.metrics.live_figures import FIGURES, EngineFigures
from cluster_sim.metrics.live_progress import are_below, counts_of, not_below


@pytest.fixture
def snapshot(finished_run):
    return opening_snapshot(finished_run.metadata, finished_run.totals, EngineMembers(finished_run.metadata))


def is_behind(snapshot, earlier) -> bool:
    """Whether a snapshot shows less than an earlier one, as it is kept in a file."""
    kept = [np.asarray(one, np.float64) for one in counts_of(earlier)]
    assert are_below(counts_of(snapshot), kept) == are_below(counts_of(snapshot), counts_of(earlier))
    return are_below(counts_of(snapshot), kept)


def _with(snapshot, name: str, value: int):
    matrix = snapshot.engines.matrix.copy()
    matrix[0, FIGURES[name]] = value
    return replace(snapshot, engines=EngineFigures(matrix))


def test_snapshot_is_behind_in_any_count(snapshot) -> None:
    """One lower count of a replica, of requests or of the fleet is enough; what replicas do now is no count."""
    assert not is_behind(snapshot, snapshot)
    assert is_behind(snapshot, _with(snapshot, "iterations", 16))
    assert not is_behind(_with(snapshot, "iterations", 16), snapshot)
    assert not is_behind(snapshot, _with(snapshot, "running", 3))
    assert is_behind(snapshot, replace(snapshot, arrived=snapshot.arrived + 1))
    assert is_behind(snapshot, replace(snapshot, fleet=snapshot.fleet._replace(migrated=1)))
    more = replace(snapshot.requests, statuses=snapshot.requests.statuses + 1)
    assert is_behind(snapshot, replace(snapshot, requests=more))


def test_snapshot_without_a_replica_that_had_joined_is_behind(snapshot) -> None:
    """Fewer engines than before are fewer counts."""
    joined = EngineFigures(np.concatenate([snapshot.engines.matrix, snapshot.engines.matrix[:1]]))
    assert is_behind(snapshot, replace(snapshot, engines=joined))
    assert not is_behind(replace(snapshot, engines=joined), snapshot)


def test_ranks_count_as_well(snapshot) -> None:
    """A rank that has done less is behind."""
    before = replace(snapshot, by_rank=_with(snapshot, "generated_tokens", 5))
    assert is_behind(replace(snapshot, by_rank=snapshot), before)


def test_end_of_a_run_shows_no_less_than_before(snapshot) -> None:
    """Steps that were made and shown beyond the run's end stay; what replicas do at the end is what it says."""
    shown = _with(_with(snapshot, "iterations", 190), "running", 3)
    ended = not_below(_with(_with(snapshot, "iterations", 188), "generated_tokens", 7), counts_of(shown))
    assert ended.engines.figure("iterations")[0] == 190
    assert ended.engines.figure("generated_tokens")[0] == 7
    assert ended.engines.figure("running")[0] == snapshot.engines.figure("running")[0]
