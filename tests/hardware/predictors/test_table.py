"""Operator tables: composition by hand, one kernel, floors, coverage, the Parquet file, and what is refused."""

from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.predictors.attention_table import AttentionTable
from cluster_sim.hardware.predictors.collectives import Collectives
from cluster_sim.hardware.predictors.grid import Curve
from cluster_sim.hardware.predictors.kinds.table import Overheads, TableOptions, TablePredictor
from cluster_sim.hardware.predictors.operator_profile import (
    Measurement,
    ProfileInfo,
    make_profile,
)
from cluster_sim.hardware.predictors.operator_profile_file import read_profile, write_profile
from cluster_sim.hardware.predictors.pool_predictor import build_predictor
from cluster_sim.hardware.profiling.import_llmservingsim import import_llmservingsim
from cluster_sim.hardware.replica_hardware import ExpertSharding
from tests.hardware.predictors.small_profile import INFO, small_profile
from tests.hardware.replicas import hardware


def predictor(**overheads: Any) -> TablePredictor:
    """Build the small profile's predictor."""
    return TablePredictor(small_profile(), hardware(), Overheads(**overheads))


@cache
def measured(root: Path, model: str, hf_id: str) -> TablePredictor:
    """Import each real profile once."""
    profile = import_llmservingsim(root / hf_id / "bf16", "rtx-pro-6000", model)
    return TablePredictor(profile, hardware(model, "rtx-pro-6000"))


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
    """Beyond the last point times grow with the key, and the step counts as outside; the last point is inside."""
    table = predictor()
    whole, twice = BatchShape(0, 0, [(1000, 0)], 1), BatchShape(0, 0, [(2000, 0)], 1)
    assert table.step_ns(twice) > 1.9 * table.step_ns(whole)
    assert (table.is_inside(whole), table.is_inside(twice)) == (True, False)
    assert table.is_inside(BatchShape(5, 2500))
    assert table.steps_inside(1, 1990, 21) == 11


@settings(max_examples=60, deadline=None)
@given(
    decodes=st.integers(1, 40),
    kv=st.integers(0, 100_000),
    steps=st.integers(1, 400),
    prefills=st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 3000)), max_size=3),
)
def test_runs_and_floor(decodes: int, kv: int, steps: int, prefills: list[tuple[int, int]]) -> None:
    """Runs equal steps to the bit and in what is inside; no step is below the floor; more work is never shorter."""
    table = predictor()
    run = table.decode_run_ns(decodes, kv, steps)
    shapes = [BatchShape(decodes, kv + step * decodes) for step in range(steps)]
    assert run.tolist() == [table.step_ns(shape) for shape in shapes]
    assert table.steps_inside(decodes, kv, steps) == sum(table.is_inside(shape) for shape in shapes)
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
    built = build_predictor(TableOptions(path=str(path)), hardware())
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
        TablePredictor(small_profile(), hardware(device="h200"))
    with pytest.raises(InputError, match="measured with tensor_parallel 1, not 2"):
        TablePredictor(small_profile(), hardware(tensor_parallel=2))
    path = tmp_path / "other.parquet"
    path.write_text("no parquet")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_profile(path)
    write_profile(small_profile(), path)
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
    with pytest.raises(InputError, match="is not an operator profile: its metadata lacks"):
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


def attention_rows(together: dict[tuple[int, int, int, int], float]) -> list[Measurement]:
    """Attention of decodes alone, 1 us each, of chunks alone, 0.1 us a token, and of both as given."""
    rows = [Measurement("attention", 1.0 * b, decodes=b, decode_kv_tokens=kv) for b in (1, 10) for kv in (0, 1000)]
    rows += [
        Measurement("attention", 0.1 * c, prefill_tokens=c, prefill_kv_tokens=kv) for c in (10, 100) for kv in (0, 1000)
    ]
    for (chunk, kv, decodes, mean), us in together.items():
        rows.append(
            Measurement(
                "attention",
                us,
                prefill_tokens=chunk,
                prefill_kv_tokens=kv,
                decodes=decodes,
                decode_kv_tokens=mean,
            )
        )
    return rows


def test_attention_of_both_together_in_overlaid_grids() -> None:
    """Chunks of 10 were measured at contexts 0 and 1000, of 100 at 0 and 500: each interpolates over its own."""
    ends = {10: 1000, 100: 500}
    together = {
        (c, kv, b, mean): 50.0 + c + kv / 100 + b + mean / 10
        for c, end in ends.items()
        for kv in (0, 1000)
        for b in (1, 10)
        for mean in (0, end)
    }
    table = AttentionTable(attention_rows(together))
    for c, kv, b, mean in ((10, 0, 1, 0), (100, 1000, 10, 500), (55, 500, 4, 250), (28, 100, 7, 400)):
        assert table.mixed(c, kv, b, 1.0, mean) == pytest.approx(50 + c + kv / 100 + b + mean / 10)
        assert table.has_mixed(c, kv, b, mean)


def test_attention_beyond_the_mixed_grid_grows_as_its_parts() -> None:
    """At twice the decodes of the edge, 10 + 10 us alone become 10 + 20 us: half as much again, extrapolated."""
    together = {(c, kv, b, mean): 40.0 for c in (10, 100) for kv in (0, 1000) for b in (1, 10) for mean in (0, 1000)}
    table = AttentionTable(attention_rows(together))
    assert table.mixed(100, 0, 10, 10.0, 500) == 40.0
    assert table.mixed(100, 0, 20, 20.0, 500) == pytest.approx(60.0)
    assert [table.has_mixed(100, 0, decodes, 500) for decodes in (10, 20)] == [True, False]
    assert AttentionTable(attention_rows({})).mixed(100, 0, 20, 20.0, 500) == pytest.approx(30.0)


def test_ranks_share_measured_experts_and_exchange_their_tokens() -> None:
    """On two ranks each has half of the experts, which see the tokens of both; these pass the link once each way."""
    model, device = load_model("qwen3-30b-a3b"), load_device("rtx-pro-6000")
    base = [row for row in small_profile().rows if not row.operator.startswith("sequence.")]
    base += [Measurement("sequence.head", 100.0, sequences=n) for n in (1, 10)]
    base += [Measurement("moe", 1.0 * n + 10.0 * e, tokens=n, experts=e) for n in (1, 1000) for e in (8, 128)]
    profile = make_profile(ProfileInfo(device.name, model.name, 1), base)
    link = Collectives(latency_us=3.0, bytes_per_s=8192e6)

    def built(ranks: int) -> TablePredictor:
        return TablePredictor(profile, hardware(model, device, experts=ExpertSharding(ranks)), collectives=link)

    shape = BatchShape(100, 0)
    experts_us = [100 + 10.0 * 128 / ranks * (1 - (1 - 8 / 128) ** (100 * ranks)) for ranks in (1, 2)]
    exchange_us = 2 * 3.0 + 2 * 100 * 2048 * 2 / 8192
    difference = built(2).step_ns(shape) - built(1).step_ns(shape)
    assert difference == pytest.approx(48e3 * (experts_us[1] - experts_us[0] + exchange_us), rel=1e-6)
    uneven = BatchShape(100, 0, routed_tokens=101)
    assert built(2).step_ns(shape) - built(2).step_ns(uneven) > 48e3 * 99 / 2
    assert built(2).step_ns(BatchShape(100, 0, routed_tokens=200)) == built(2).step_ns(shape)


def test_all_reduces_that_were_not_measured_take_the_link() -> None:
    """On two GPUs half of 2 x the activations pass the link, twice a layer, and each all-reduce has its latency."""
    info = ProfileInfo("h100-sxm", "llama-3-8b", 2)
    profile = make_profile(info, small_profile().rows)
    model, device = load_model("llama-3-8b"), load_device("h100-sxm")
    slow, none = Collectives(20.0, 16e9), Collectives(0.0, 1e30)
    step = [
        TablePredictor(profile, hardware(model, device, 2), collectives=rows).step_ns(BatchShape(100, 0))
        for rows in (slow, none)
    ]
    assert step[0] - step[1] == pytest.approx(32 * 2 * (20e3 + 100 * 4096 * 2 / 16e9 * 1e9), rel=1e-6)
