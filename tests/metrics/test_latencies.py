"""Tests of the definitions of latencies."""

import numpy as np

from cluster_sim.metrics.latencies import latencies_ns
from cluster_sim.recording.rows import FIELD, ROW_FIELDS, RowBlock


def test_definitions_by_hand() -> None:
    """Arrival 10, dispatch 12, scheduled 20, first token 50, finish 81: TPOT is 31 / (n - 1), rounded half up."""
    rows = np.zeros((3, len(ROW_FIELDS)), np.int64)
    for name, instant in (("arrival", 10), ("dispatch", 12), ("scheduled", 20), ("first_token", 50), ("finish", 81)):
        rows[:, FIELD[f"{name}_ns"]] = instant
    rows[:, FIELD["output_tokens"]] = (3, 4, 1)
    latencies = latencies_ns(RowBlock(rows, ("",), ("",), ("main",)))
    assert latencies.ttft.tolist() == [40, 40, 40]
    assert latencies.tpot.tolist() == [16, 10, 0]
    assert latencies.e2e.tolist() == [71, 71, 71]
    assert latencies.queue.tolist() == [8, 8, 8]
    assert latencies.prefill.tolist() == [30, 30, 30]
    assert latencies.decode.tolist() == [31, 31, 31]
    assert latencies.inference.tolist() == [61, 61, 61]
