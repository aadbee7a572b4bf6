"""Several workloads one after the other."""

from cluster_sim.workload.columns import concatenate
from cluster_sim.workload.kinds.phases import PhasedColumns
from tests.workload.listed_columns import ListedColumns


def test_phases_follow_each_other() -> None:
    """Each phase is cut off at its end and shifted to its start; the sequence repeats."""
    sources = [(2.0, ListedColumns([0, 1_000_000_000, 2_000_000_000], 1, 1)), (1.0, ListedColumns([500_000_000], 1, 2))]
    whole = concatenate(list(PhasedColumns(sources, 2).columns()))
    assert (whole.arrival_ns / 1e9).tolist() == [0.0, 1.0, 2.5, 3.0, 4.0, 5.5]
    assert whole.prompt_tokens.tolist() == [1, 1, 2, 1, 1, 2]
