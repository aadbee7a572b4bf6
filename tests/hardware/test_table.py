"""Operator tables: composition by hand, one kernel, floors, coverage, the Parquet file, and what is refused."""

from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster_sim.config.errors import InputError
from cluster_sim.config.predictor import TablePredictor as TableConfig
from cluster_sim.hardware.build import build_predictor
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.grid import Curve
from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.operator_profile import (
    Measurement,
    OperatorProfile,
    ProfileInfo,
    make_profile,
    read_profile,
    write_profile,
)
from cluster_sim.hardware.predictor import BatchShape, Coverage
from cluster_sim.hardware.profile_import import import_llmservingsim
from cluster_sim.hardware.table import Overheads, TablePredictor

INFO = ProfileInfo("h100-sxm", "llama-3-8b", 1)


def small_profile() -> OperatorProfile:
    """A profile whose times are easy sums: 10 us + 1 us a token in a layer, 5 us a step, 100 us a sequence."""
    rows = [Measurement("layer.gemm", 10.0 + n, tokens=n) for n in (1, 100, 1000)]
    rows += [Measurement("layer.norm", 1.0, tokens=n, count=2) for n in (1, 1000)]
    rows += [Measurement("step.embedding", 5.0, tokens=n) for n in (1, 1000)]
    rows += [Measurement("sequence.head", 100.0 * n, sequences=n) for n in (1, 10)]
    rows += [
        Measurement("attention", 2.0 * b + 0.01 * b * kv, decodes=b, decode_kv_tokens=kv)
        for b in (1, 10)
        for kv in (0, 1000, 2000)
    ]
    rows += [
        Measurement("attention", 3.0 + 0.1 * c + 0.001 * kv, prefill_tokens=c, prefill_kv_tokens=kv)
        for c in (1, 100, 1000)
        for kv in (0, 1000)
    ]
    return make_profile(INFO, rows)


def predictor(**overheads: Any) -> TablePredictor:
    """Build the small profile's predictor."""
    return TablePredictor(
        small_profile(), load_model("llama-3-8b"), load_device("h100-sxm"), 1, 1, Overheads(**overheads)
    )


@cache
def measured(root: Path, model: str, hf_id: str) -> TablePredictor:
    """Import each real profile once."""
    profile = import_llmservingsim(root / hf_id / "bf16", "rtx-pro-6000", model)
    return TablePredictor(profile, load_model(model), load_device("rtx-pro-6000"))


def test_decode_step_by_hand() -> None:
    """Five decodes over 500 cached tokens each: 32 layers of 15 + 2 + (10 + 25) us, 5 us, and 500 us of heads."""
    assert predictor().step_ns(BatchShape(5, 2500)) == pytest.approx((32 * (15 + 2 + 10 + 25) + 5 + 500) * 1e3, abs=1)


def test_prefill_step_by_hand() -> None:
    """A chunk of 50 over 500: 32 layers of 60 + 2 + (3 + 5 + 0.5) us, the embedding and one head."""
    step = predictor().step_ns(BatchShape(0, 0, [(50, 500)], 1))
    assert step == pytest.approx((32 * (60 + 2 + 8.5) + 5 + 100) * 1e3, abs=1)


def test_overheads_add_up() -> None:
    """The engine's own times come on top: per step, per layer and per sequence."""
    added = predictor(step_us=7, layer_us=2, sequence_us=3).step_ns(BatchShape(5, 2500))
    assert added - predictor().step_ns(BatchShape(5, 2500)) == pytest.approx((7 + 32 * 2 + 5 * 3) * 1e3, abs=1)


def test_outside_is_scaled_and_counted() -> None:
    """Beyond the last point times grow with the key, and coverage says so; inside it does not."""
    table = predictor()
    table.step_ns(BatchShape(5, 2500))
    assert (table.coverage.inside, table.coverage.extrapolated) == (1, 0)
    twice = table.step_ns(BatchShape(0, 0, [(2000, 0)], 1))
    assert (table.coverage.inside, table.coverage.extrapolated) == (1, 1)
    assert twice > 1.9 * table.step_ns(BatchShape(0, 0, [(1000, 0)], 1))
    table.cover_run(1, 1990, 21)
    assert (table.coverage.inside, table.coverage.extrapolated) == (2 + 11, 1 + 10)


@settings(max_examples=60, deadline=None)
@given(
    decodes=st.integers(1, 40),
    kv=st.integers(0, 100_000),
    steps=st.integers(1, 400),
    prefills=st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 3000)), max_size=3),
)
def test_runs_and_floor(decodes: int, kv: int, steps: int, prefills: list[tuple[int, int]]) -> None:
    """Runs equal steps to the bit and in coverage; no step is below the floor; more work is never shorter."""
    table = predictor()
    run = table.decode_run_ns(decodes, kv, steps)
    assert run.tolist() == [table.step_ns(BatchShape(decodes, kv + i * decodes)) for i in range(steps)]
    stepped, table.coverage = table.coverage, Coverage()
    table.cover_run(decodes, kv, steps)
    assert table.coverage == stepped
    mixed = table.step_ns(BatchShape(decodes, kv, prefills, len(prefills)))
    assert mixed >= int(run[0]) >= table.floor_ns()
    if prefills:
        assert table.step_ns(BatchShape(0, 0, prefills, 0)) >= table.floor_ns()


@pytest.mark.parametrize(
    ("model", "hf_id"),
    [("llama-3.1-8b", "meta-llama/Llama-3.1-8B"), ("qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B-Instruct-2507")],
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_measured_profiles(shared: Path, model: str, hf_id: str, data: st.DataObject) -> None:
    """On a real profile, too, runs equal steps and floors hold, for any shape."""
    table = measured(shared / "ground-truth/llmservingsim-op-profiles/RTXPRO6000", model, hf_id)
    decodes, kv = data.draw(st.integers(1, 300)), data.draw(st.integers(0, 500_000))
    prefills = data.draw(st.lists(st.tuples(st.integers(1, 4096), st.integers(0, 20_000)), max_size=3))
    run = table.decode_run_ns(decodes, kv, 50)
    assert run.tolist() == [table.step_ns(BatchShape(decodes, kv + i * decodes)) for i in range(50)]
    floor = table.floor_ns()
    assert int(run[0]) >= floor > 3_000_000
    if prefills:
        assert table.step_ns(BatchShape(0, 0, prefills, len(prefills))) >= floor
        assert table.step_ns(BatchShape(decodes, kv, prefills, len(prefills))) >= int(run[0])


def test_parquet_round_trip(tmp_path: Path) -> None:
    """Writing and reading a profile keeps its rows and what it was measured on; studies read it by path."""
    path = tmp_path / "profile.parquet"
    profile = small_profile()
    write_profile(profile, path)
    again = read_profile(path)
    assert again.info == profile.info
    assert sorted((row.operator, row.key, row.count, row.time_us) for row in again.rows) == sorted(
        (row.operator, row.key, row.count, row.time_us) for row in profile.rows
    )
    built = build_predictor(TableConfig(path=str(path)), load_model("llama-3-8b"), load_device("h100-sxm"))
    assert built.step_ns(BatchShape(5, 2500)) == predictor().step_ns(BatchShape(5, 2500))
    assert [entry.name for entry in tmp_path.iterdir()] == ["profile.parquet"]


def test_wrong_profiles_are_refused(tmp_path: Path) -> None:
    """Duplicates, negative times, unknown operators, other devices, other files: each with its row or name."""
    row = Measurement("layer.gemm", 1.0, tokens=1, row=2)
    with pytest.raises(InputError, match=r"row 3: duplicate key of layer\.gemm .*first in row 2"):
        make_profile(INFO, [row, Measurement("layer.gemm", 2.0, tokens=1, row=3)])
    with pytest.raises(InputError, match=r"row 4: time of layer\.gemm is -1 us"):
        make_profile(INFO, [Measurement("layer.gemm", -1.0, tokens=1, row=4)])
    with pytest.raises(InputError, match="row 5: unknown operator 'gemm'"):
        make_profile(INFO, [Measurement("gemm", 1.0, tokens=1, row=5)])
    with pytest.raises(InputError, match="measured with device h100-sxm, not h200"):
        TablePredictor(small_profile(), load_model("llama-3-8b"), load_device("h200"))
    with pytest.raises(InputError, match="measured with tensor_parallel 1, not 2"):
        TablePredictor(small_profile(), load_model("llama-3-8b"), load_device("h100-sxm"), 2)
    path = tmp_path / "other.parquet"
    path.write_text("no parquet")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_profile(path)
    write_profile(small_profile(), path)
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
    with pytest.raises(InputError, match="no operator profile"):
        read_profile(path)


def test_import_refuses_another_device(shared: Path) -> None:
    """A folder measured on another GPU than the one named is an input error."""
    folder = shared / "ground-truth/llmservingsim-op-profiles/RTX4090/meta-llama/Llama-3.1-8B/bf16"
    with pytest.raises(InputError, match="is a profile for RTX4090, not for rtx-pro-6000"):
        import_llmservingsim(folder, "rtx-pro-6000", "llama-3.1-8b")


def test_curve_by_hand() -> None:
    """Linear between points, proportional above, constant below; a dip lowers what comes before it."""
    curve = Curve([10, 20, 40], [1.0, 3.0, 2.0])
    assert [curve(x) for x in (0, 10, 15, 20, 40, 80)] == [1.0, 1.0, 1.5, 2.0, 2.0, 4.0]


def test_ranks_that_share_experts_exchange_and_wait() -> None:
    """Per token and layer the exchange adds up; in lock-step a prompt also costs what the other rank's prompt does."""
    shape, mixed = BatchShape(5, 2500), BatchShape(5, 2500, [(50, 500)], 1)
    exchange = predictor(layer_us_per_token=0.5)
    assert exchange.step_ns(shape) - predictor().step_ns(shape) == pytest.approx(32 * 5 * 500, abs=1)
    prompt_ns = predictor().step_ns(mixed) - predictor().step_ns(shape)
    together = predictor(lockstep_ranks=2)
    assert together.step_ns(shape) == predictor().step_ns(shape)
    assert together.step_ns(mixed) - together.step_ns(shape) == pytest.approx(2 * prompt_ns, abs=3)
