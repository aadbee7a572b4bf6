"""Fitting, measuring and showing profiles, and the commands for them."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster_sim.cli.profile_commands import app
from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.model import Model, load_model
from cluster_sim.hardware.predictors.kinds.table import TablePredictor
from cluster_sim.hardware.predictors.operator_profile import (
    Measurement,
    ProfileInfo,
    make_profile,
)
from cluster_sim.hardware.predictors.operator_profile_file import read_profile, write_profile
from cluster_sim.hardware.profiling.backends import backend_named
from cluster_sim.hardware.profiling.distillation import fit_profile
from cluster_sim.hardware.profiling.measurement import SMALL, measure
from cluster_sim.hardware.profiling.page import against_profile, against_roofline, summarise, write_page
from tests.hardware.replicas import hardware

TINY = Model(
    name="tiny",
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    intermediate_size=128,
    vocab_size=256,
    max_position_embeddings=512,
)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_measured_profile_predicts(backend: str) -> None:
    """Measuring tiny shapes on the CPU gives a profile of every operator that a predictor can use."""
    if backend == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    profile = measure(TINY, "h100-sxm", backend_named(backend), 1, SMALL)
    assert {"attention", "layer.qkv_proj", "layer.down_proj", "sequence.lm_head"} <= set(profile.operators)
    assert all(row.time_us > 0 for row in profile.rows)
    assert backend in profile.info.versions
    predictor = TablePredictor(profile, hardware(TINY))
    assert predictor.step_ns(BatchShape(2, 10, [(4, 0)], 1)) >= predictor.floor_ns() > 1


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_causal_attention_is_aligned_to_the_end(backend: str) -> None:
    """Two queries over three keys of equal scores: the first averages two values, the last one all three."""
    if backend == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    arithmetic = backend_named(backend)
    query, key = arithmetic.tensor(1, 2, 2, 8) * 0, arithmetic.tensor(1, 1, 3, 8)
    value = key * 0
    for index in range(3):
        value[0, 0, index] += 3.0**index
    found = arithmetic.attention(query, key, value, True)
    assert [float(found[0, head, row, 0]) for head in (0, 1) for row in (0, 1)] == pytest.approx([2, 13 / 3] * 2)
    assert float(arithmetic.attention(query, key, value, False)[0, 0, 0, 0]) == pytest.approx(13 / 3)


def test_shapes_without_room_are_left_out() -> None:
    """A batch that the memory does not hold is no row, and the others are measured."""
    arithmetic = backend_named("numpy")
    plain = arithmetic.tensor

    def tensor(*shape: int) -> Any:
        if len(shape) == 4 and shape[0] == 2:
            raise MemoryError
        return plain(*shape)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arithmetic, "tensor", tensor)
        profile = measure(TINY, "h100-sxm", arithmetic, 1, SMALL)
    assert {row.decodes for row in profile.of("attention")} == {0, 1}


def test_measure_refuses_what_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Experts, unknown backends and a missing PyTorch are input errors."""
    with pytest.raises(InputError, match="not supported; import a profile"):
        measure(load_model("mixtral-8x7b"), "h100-sxm", backend_named("numpy"))
    with pytest.raises(InputError, match="unknown backend 'jax'; known: torch, numpy"):
        backend_named("jax")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(InputError, match="needs PyTorch"):
        backend_named("torch")


@pytest.mark.parametrize(("method", "percent", "ratio"), [("forest", 15.0, 0.3), ("linear", 0.01, 1e-4)])
def test_fit_distils_to_a_table(method: str, percent: float, ratio: float) -> None:
    """On exactly affine times the cross-validated error is small, and the fitted profile agrees with the measured."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    rows = [Measurement("layer.gemm", 10 + 0.1 * n, tokens=n) for n in range(1, 200, 2)]
    rows += [
        Measurement("attention", 5 + 0.01 * b * kv, decodes=b, decode_kv_tokens=kv)
        for b in (1, 2, 4, 8, 16)
        for kv in (0, 100, 200, 400, 800)
    ]
    rows += [Measurement("attention", 5.0, prefill_tokens=16)]
    profile = make_profile(ProfileInfo("h100-sxm", "llama-3-8b", 1), rows)
    fitted, errors = fit_profile(profile, method)
    assert {error.group for error in errors} == {"layer.gemm", "attention decode"}
    assert all(error.mape_percent < percent for error in errors)
    assert len(fitted.of("layer.gemm")) == 100
    by_key = {(row.operator, row.key): row.time_us for row in fitted.rows}
    for row in rows:
        assert by_key[row.operator, row.key] == pytest.approx(row.time_us, rel=ratio)
    with pytest.raises(InputError, match="unknown method 'svm'; known: forest, linear"):
        fit_profile(profile, "svm")


def test_show_by_hand(tmp_path: Path) -> None:
    """The table has ranges and the ratio to another profile; the page is one file with plots."""
    info = ProfileInfo("h100-sxm", "llama-3-8b", 1)
    mine = make_profile(info, [Measurement("layer.gemm", 20.0 * n, tokens=n) for n in (1, 2, 4)])
    other = make_profile(info, [Measurement("layer.gemm", 10.0 * n, tokens=n) for n in (1, 2, 4)])
    comparisons = against_profile(mine, other)
    (line,) = summarise(mine, comparisons)
    assert (line.rows, line.keys, line.shortest_us, line.longest_us, line.ratio) == (3, "tokens 1..4", 20, 80, 2.0)
    page = tmp_path / "page.html"
    write_page(mine, comparisons, "another profile", page)
    text = page.read_text()
    assert text.count("<circle") == 3
    assert "<script" not in text
    assert [item.operator for item in against_roofline(mine, load_model("llama-3-8b"), load_device("h100-sxm"))] == [
        "attention",
        "layer operators",
    ]


def test_commands(tmp_path: Path) -> None:
    """Show and fit read what was written; wrong input raises the one error the command line turns into exit 2."""
    runner = CliRunner()
    path, fitted = tmp_path / "p.parquet", tmp_path / "f.parquet"
    rows = [Measurement("layer.gemm", 300.0 + n, tokens=n) for n in range(1, 40)]
    rows += [
        Measurement("attention", 9.0, decodes=1, decode_kv_tokens=16),
        Measurement("attention", 9.0, prefill_tokens=8),
    ]
    write_profile(make_profile(ProfileInfo("h100-sxm", "llama-3-8b", 1, source="by hand"), rows), path)
    shown = runner.invoke(app, ["show", str(path), "--html", str(tmp_path / "p.html")], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "layer.gemm" in shown.output
    assert "by hand" in shown.output
    done = runner.invoke(app, ["fit", str(path), "-o", str(fitted), "--method", "linear"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "cross-validated" in done.output
    assert "linear fitted to: by hand" in read_profile(fitted).info.source
    wrong = ["import", "vidur", "mlp.csv", "--model", "llama-3-8b", "--device", "h100-sxm", "-o", str(path)]
    error = runner.invoke(app, wrong).exception
    assert isinstance(error, InputError)
    assert "--attention" in str(error)
