"""Tests of the store of rows that wait to be written."""

from pathlib import Path

import numpy as np
import pytest

from cluster_sim.output.chunk_store import ChunkStore


@pytest.mark.parametrize("memory_bytes", [0, 100, 1 << 20])
def test_rows_come_back_by_key_in_the_order_put(tmp_path: Path, memory_bytes: int) -> None:
    """Rows wait in memory, in the file or in both; each key gives back its own in order, once."""
    store = ChunkStore(tmp_path, 2, memory_bytes)
    rows = np.arange(40).reshape(20, 2)
    for index in range(10):
        store.put(index % 3, rows[2 * index : 2 * index + 2])
    assert store.keys() == [0, 1, 2]
    assert store.take(1).tolist() == [row for index in (1, 4, 7) for row in rows[2 * index : 2 * index + 2].tolist()]
    assert store.keys() == [0, 2]
    store.put(1, rows[:1])
    assert store.take(1).tolist() == [[0, 1]]
    assert store.take(1).shape == (0, 2)
    assert len(store.take(0)) == 8
    store.close()
    assert list(tmp_path.iterdir()) == []
