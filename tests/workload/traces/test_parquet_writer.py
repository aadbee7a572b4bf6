"""Writing workloads as Parquet traces."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster_sim.errors import InputError
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.traces.parquet_writer import write_trace
from tests.workload.sections import long_tailed


def test_converted_traces_replay_equally(tmp_path: Path, rows: Callable[..., Any]) -> None:
    """Times, lengths and every attribute survive writing and reading; plain workloads stay plain."""
    traits = {
        "tenant": "t", "priority": -3, "deadline_s": 2, "lora_pool": 3, "length_hint_cv": 0.2, "slo_class": "gold",
        "prefix": {"levels": [{"count": 3, "tokens": 40}]}, "reasoning": {"ratio": {"kind": "fixed", "value": 0.5}},
    }  # fmt: skip
    for section in (long_tailed(count=3000), long_tailed(count=3000, traits=traits)):
        block = rows(section)
        path = tmp_path / "t.parquet"
        assert write_trace(iter([block]), path, with_attributes=block.attributes is not None) == 3000
        again = rows({"kind": "trace", "path": str(path), "strict": True})
        for name in ("arrival_ns", "prompt_tokens", "output_tokens"):
            assert np.array_equal(getattr(block, name), getattr(again, name))
        assert block.attributes == again.attributes
    assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]


def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    """When a source breaks half-way, neither the file nor its partial name remains."""

    def broken() -> Any:
        yield Columns(np.array([0]), np.array([1]), np.array([1]))
        raise InputError("broken")

    with pytest.raises(InputError, match="broken"):
        write_trace(broken(), tmp_path / "t.parquet", with_attributes=False)
    with pytest.raises(InputError, match="cannot be written"):
        write_trace(iter([]), tmp_path / "nowhere" / "t.parquet", with_attributes=False)
    assert list(tmp_path.iterdir()) == []
