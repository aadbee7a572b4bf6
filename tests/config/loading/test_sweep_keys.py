"""Keys of a sweep by the names of list items."""

import pytest

from cluster_sim.config.loading.sweep_keys import index_sweep_keys
from cluster_sim.document import Document
from cluster_sim.errors import InputError

TEXT = """\
fleet: {pools: [{name: a}, {name: b}]}
sweep:
  grid: {fleet.pools.b.replicas: [1, 2], seed: [1, 2]}
  zip: {fleet.pools.a.device: [h100-sxm]}
  sample: {count: 2, ranges: {fleet.pools.a.engine.max_num_seqs: [1, 2]}}
  list: [{fleet.pools.0.tensor_parallel: 1, fleet.pools.b.tensor_parallel: 2}]
  where: [fleet.pools.b.replicas <= 16, seed > 0]
"""


def test_names_become_indices_everywhere() -> None:
    """Grid, zip, ranges, entries of the list and conditions; order and places stay those of what was written."""
    document = Document.parse(TEXT, "f.yaml")
    place = document.places["sweep", "grid", "fleet.pools.b.replicas"]
    index_sweep_keys(document)
    sweep = document.data["sweep"]
    assert list(sweep["grid"]) == ["fleet.pools.1.replicas", "seed"]
    assert list(sweep["zip"]) == ["fleet.pools.0.device"]
    assert list(sweep["sample"]["ranges"]) == ["fleet.pools.0.engine.max_num_seqs"]
    assert list(sweep["list"][0]) == ["fleet.pools.0.tensor_parallel", "fleet.pools.1.tensor_parallel"]
    assert sweep["where"] == ["fleet.pools.1.replicas <= 16", "seed > 0"]
    assert document.places["sweep", "grid", "fleet.pools.1.replicas"] == place


def test_one_key_by_name_and_by_index_is_refused() -> None:
    """Both mean the same value."""
    text = "fleet: {pools: [{name: a}]}\nsweep: {grid: {fleet.pools.a.replicas: [1], fleet.pools.0.replicas: [2]}}\n"
    with pytest.raises(InputError, match=r"fleet.pools.a.replicas and fleet.pools.0.replicas are the same key"):
        index_sweep_keys(Document.parse(text, "f.yaml"))
