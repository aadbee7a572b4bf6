"""Vidur's tables: its logged batch times are rebuilt, to 1e-12 s, and what lies outside is counted."""

import csv
import gzip
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.kinds.vidur_tables import VidurTablePredictor
from cluster_sim.hardware.predictors.vidur_files import load_vidur_tables
from tests.hardware.predictors.small_tables import write_vidur_tables
from tests.hardware.replicas import hardware

RUNS = [
    ("cl34_tp2_vllm_trace500_ts2", "cl34_a100_tp2", "codellama-34b", 2, 1),
    ("cl34_tp2_sarathi512_trace500_ts2", "cl34_a100_tp2", "codellama-34b", 2, 1),
    ("l70_tp2_pp1_vllm_trace500_ts4", "l70_a100_tp2", "llama-2-70b", 2, 1),
    ("l8_tp1_vllm_fixed500_qps4", "l8_a100_tp1_standin", "llama-3-8b", 1, 1),
]


DENSE = (
    "attn_pre_proj",
    "attn_post_proj",
    "mlp_up_proj",
    "mlp_down_proj",
    "mlp_act",
    "attn_rope",
    "attn_kv_cache_save",
    "input_layernorm",
    "post_attention_layernorm",
    "add",
)


@cache
def predictor_of(directory: Path, prefix: str, model: str, tp: int, pp: int) -> VidurTablePredictor:
    """Load each set of tables once."""
    return VidurTablePredictor(load_vidur_tables(directory, prefix, pp), hardware(model, "a100-80gb", tp, pp))


def logged_batches(path: Path) -> Iterator[tuple[float, BatchShape]]:
    """Yield (duration in s, shape) of a log; Vidur counts a decode's newest token as cached, a shape does not."""
    with gzip.open(path, "rt") as stream:
        for row in csv.DictReader(stream):
            chunks = row["prefill_chunks(tokens+already_processed)"]
            prefills = [tuple(map(int, chunk.split("+"))) for chunk in chunks.replace(";", " ").split()]
            decodes = int(row["num_decode_reqs"])
            shape = BatchShape(decodes, int(row["sum_decode_kv"]) - decodes, prefills, len(prefills))
            yield float(row["completed_at"]) - float(row["scheduled_at"]), shape


@pytest.mark.parametrize(("run", "prefix", "model", "tp", "pp"), RUNS)
def test_logged_batch_times(shared: Path, run: str, prefix: str, model: str, tp: int, pp: int) -> None:
    """Every logged batch lasts what the tables say, within 1e-12 s (the log's times carry rounding of their sum)."""
    predictor = predictor_of(shared / "vidur-ref/predictor", prefix, model, tp, pp)
    worst, count = 0.0, 0
    for seconds, shape in logged_batches(shared / "vidur-ref" / run / "batches.csv.gz"):
        ms = predictor.stage_time_ms(shape)
        assert predictor.is_inside(shape)
        worst, count = max(worst, abs(seconds - ms * 1e-3)), count + 1
        if not shape.prefills:
            assert predictor.step_ns(shape) == round(ms * 1e6)
    assert count > 5000
    assert worst < 1e-12


def test_pipeline_stage_times(shared: Path) -> None:
    """First and last stages of the two-stage table agree with Vidur's own composed table; the last has no send."""
    directory = shared / "vidur-ref/predictor"
    predictor = predictor_of(directory, "cl34_a100_tp2", "codellama-34b", 2, 2)
    with gzip.open(directory / "cl34_a100_tp2_pp2.stage_time.csv.gz", "rt") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) > 1000
    for row in rows:
        prefills = [tuple(map(int, chunk.split("@"))) for chunk in row["prefill_chunks(tokens@kv)"].split(";") if chunk]
        decodes = int(row["num_decodes"])
        if prefills and len(prefills) * prefills[0][0] != int(row["total_tokens"]) - decodes:
            continue
        shape = BatchShape(decodes, decodes * (int(row["decode_kv"]) - 1), prefills, len(prefills))
        assert predictor.stage_time_ms(shape, 0) == pytest.approx(float(row["first_stage_ms"]), abs=1e-9)
        assert predictor.stage_time_ms(shape, 1) == pytest.approx(float(row["last_stage_ms"]), abs=1e-9)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(decodes=st.integers(1, 300), kv=st.integers(0, 9000), extra=st.integers(0, 50), steps=st.integers(1, 400))
def test_decode_run_is_repeated_steps(shared: Path, decodes: int, kv: int, extra: int, steps: int) -> None:
    """Runs equal single steps in time and in what is inside the table, and none is below the floor."""
    predictor = predictor_of(shared / "vidur-ref/predictor", "cl34_a100_tp2", "codellama-34b", 2, 1)
    total = kv * decodes + min(extra, decodes - 1)
    run = predictor.decode_run_ns(decodes, total, steps)
    shapes = [BatchShape(decodes, total + step * decodes) for step in range(steps)]
    assert run.tolist() == [predictor.step_ns(shape) for shape in shapes]
    assert predictor.steps_inside(decodes, total, steps) == sum(predictor.is_inside(shape) for shape in shapes)
    assert int(run.min()) >= predictor.floor_ns() > 1


def test_outside_the_table_is_extrapolated(shared: Path) -> None:
    """A batch beyond the table is scaled by its work, not refused, and told apart from one inside."""
    predictor = VidurTablePredictor(
        load_vidur_tables(shared / "vidur-ref/predictor", "cl34_a100_tp2"), hardware("codellama-34b", "a100-80gb", 2)
    )
    inside, outside = (BatchShape(0, 0, [(tokens, 0)], 1) for tokens in (4096, 8192))
    assert 2 * predictor.step_ns(inside) < predictor.step_ns(outside) < 3 * predictor.step_ns(inside)
    assert (predictor.is_inside(inside), predictor.is_inside(outside)) == (True, False)


def test_wrong_tables_are_refused(tmp_path: Path) -> None:
    """A missing file, a hole, a negative time: each is an input error that names the file and the line."""
    with pytest.raises(InputError, match=r"x\.ops_by_num_tokens\.csv: no such file"):
        load_vidur_tables(tmp_path, "x")
    header = "num_tokens," + ",".join(f"{name}_ms" for name in DENSE)
    ops = tmp_path / "x.ops_by_num_tokens.csv"
    ops.write_text(f"{header}\n1{',1' * 10}\n3{',1' * 10}\n")
    with pytest.raises(InputError, match=r"csv:3: num_tokens is 3, expected 2"):
        load_vidur_tables(tmp_path, "x")
    ops.write_text(f"{header}\n1{',1' * 10}\n2,-1{',1' * 9}\n")
    with pytest.raises(InputError, match=r"csv:3: attn_pre_proj_ms is -1"):
        load_vidur_tables(tmp_path, "x")
    ops.write_text(f"{header}\n1{',1' * 10}\n2{',1' * 10}\n")
    decode = tmp_path / "x.attn_decode.csv"
    decode.write_text("batch_size,kv_cache_size,attn_decode_ms\n1,0,1\n2,64,1\n")
    with pytest.raises(InputError, match="no row for batch_size 1, kv_cache_size 64"):
        load_vidur_tables(tmp_path, "x")
    decode.write_text("batch_size,kv_cache_size,attn_decode_ms\n1,0,1\n1,0,1\n")
    with pytest.raises(InputError, match=r"csv:3: duplicate key \(1, 0\)"):
        load_vidur_tables(tmp_path, "x")


def test_composition_by_hand(tmp_path: Path) -> None:
    """One layer's sum with every operator 1 ms: 8 + 2 attention parts, doubled heads' factor only for several."""
    write_vidur_tables(tmp_path, "x")
    predictor = VidurTablePredictor(load_vidur_tables(tmp_path, "x"), hardware())
    assert predictor.step_ns(BatchShape(1, 10)) == 32 * 12 * 1_000_000
    assert predictor.step_ns(BatchShape(2, 10)) == round(32 * 12.2e6)
    assert predictor.step_ns(BatchShape(1, 10, [(2, 64)], 1)) == 32 * 16 * 1_000_000
    assert np.array_equal(predictor.decode_run_ns(1, 10, 2), [32 * 12_000_000] * 2)
