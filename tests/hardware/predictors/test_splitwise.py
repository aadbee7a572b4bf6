"""Splitwise's performance model: medians, curves, floors, and unknown combinations."""

from pathlib import Path

import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.kinds.splitwise import SplitwiseOptions
from cluster_sim.hardware.predictors.pool_predictor import build_predictor
from tests.hardware.predictors.small_tables import SPLITWISE_HEADER, splitwise_rows
from tests.hardware.replicas import hardware


def test_medians_and_curves_by_hand(tmp_path: Path) -> None:
    """Repeated rows give their median; prompts go by tokens in the batch, tokens by requests, between them linear."""
    path = tmp_path / "perf.csv"
    path.write_text(SPLITWISE_HEADER + splitwise_rows(2))
    config = SplitwiseOptions(path=str(path), measured_model="m", measured_hardware="h")
    predictor = build_predictor(config, hardware("llama-2-70b", "h100-sxm", 2))
    assert predictor.step_ns(BatchShape(1, 500)) == 22_000_000
    assert predictor.decode_run_ns(2, 500, 3).tolist() == [round((22 + 8 / 3) * 1e6)] * 3
    assert predictor.step_ns(BatchShape(0, 0, [(100, 0)], 1)) == 12_000_000
    assert predictor.step_ns(BatchShape(0, 0, [(150, 0), (100, 0)], 2)) == 26_000_000
    assert predictor.step_ns(BatchShape(4, 0, [(96, 0)], 1)) == 30_000_000
    assert predictor.floor_ns() == 12_000_000
    assert [predictor.steps_inside(decodes, 500, 3) for decodes in (4, 5)] == [3, 0]
    assert predictor.is_inside(BatchShape(4, 0, [(396, 0)], 1))
    assert not predictor.is_inside(BatchShape(0, 0, [(401, 0)], 1))
    assert not predictor.is_inside(BatchShape(5, 0))


def test_real_file(shared: Path) -> None:
    """Llama-2-70B on 8 H100: about 30 ms a token alone, slower with 64, prompts grow with their tokens."""
    path = shared / "ground-truth/splitwise-perf-model/perf_model.csv.gz"
    predictor = build_predictor(SplitwiseOptions(path=str(path)), hardware("llama-2-70b", "h100-sxm", 8))
    one, many = predictor.step_ns(BatchShape(1, 0)), predictor.step_ns(BatchShape(64, 0))
    assert 25_000_000 < one < many < 60_000_000
    assert predictor.step_ns(BatchShape(0, 0, [(2048, 0)], 1)) < predictor.step_ns(BatchShape(0, 0, [(4096, 0)], 1))
    with pytest.raises(InputError, match=r"nothing for llama2-70b/h100-80gb/tp1; known: .*llama2-70b/h100-80gb/tp8"):
        build_predictor(SplitwiseOptions(path=str(path)), hardware("llama-2-70b", "h100-sxm", 1))


def test_wrong_value_names_line_and_column(tmp_path: Path) -> None:
    """A value that is no number is an input error with its place."""
    path = tmp_path / "perf.csv"
    path.write_text(SPLITWISE_HEADER + splitwise_rows(2) + "m,h,100,x,8,10,20,2\n")
    config = SplitwiseOptions(path=str(path), measured_model="m", measured_hardware="h")
    with pytest.raises(InputError, match=r"perf\.csv:6: batch_size is 'x'"):
        build_predictor(config, hardware("llama-2-70b", "h100-sxm", 2))
