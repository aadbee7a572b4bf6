"""What a study's predictor block does to a whole run: noise, energy, the limit on extrapolation."""

from pathlib import Path
from typing import Any

import pytest

from cluster_sim.config.errors import InputError
from cluster_sim.config.load import load_study
from cluster_sim.study.options import RunOptions
from cluster_sim.study.run import RunResult, run_study

STUDY = """
name: predictor-settings
workload:
  kind: synthetic
  count: 150
  arrivals: {kind: poisson, request_rate: 20}
  lengths: {prompt: {kind: uniform, min: 50, max: 900}, output: {kind: uniform, min: 1, max: 90}}
fleet:
  pools: [{name: main, model: llama-3-8b, device: h100-sxm, replicas: 2, engine: {num_kv_blocks: 800}}]
router: {policy: least_outstanding}
predictor: {kind: roofline}
"""


def _run(folder: Path, **overrides: Any) -> RunResult:
    study = folder / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    settings = [f"{key.replace('__', '.')}={value}" for key, value in overrides.items()]
    out = folder / f"run{len(list(folder.iterdir()))}"
    return run_study(load_study(study, settings), RunOptions(executor="inline", out=out))


@pytest.mark.parametrize("stages", [1, 2])
def test_noise_does_not_depend_on_macro_steps(tmp_path: Path, stages: int) -> None:
    """Noisy step times give the same digest for macro-steps and single steps, and another for another seed."""
    common = {"predictor__jitter_ratio": 0.1, "fleet__pools__0__pipeline_parallel": stages}
    macro = _run(tmp_path, **common)
    single = _run(tmp_path, **common, run__macro_steps="false")
    quiet = _run(tmp_path, fleet__pools__0__pipeline_parallel=stages)
    assert macro.digest == single.digest != quiet.digest
    assert macro.summary["checks"]["little"]["holds"]


def test_energy_of_a_run(tmp_path: Path) -> None:
    """Mean power lies between idle and full power of both GPUs, and the figures fit together."""
    summary = _run(tmp_path).summary
    energy = summary["energy"]
    assert 2 * 0.15 * 700 < energy["mean_power_w"] < 2 * 700
    assert energy["energy_j"] == pytest.approx(energy["mean_power_w"] * summary["simulated_s"])
    assert energy["j_per_request"] == pytest.approx(energy["energy_j"] / 150)
    assert energy["energy_j"] == pytest.approx(sum(pool["energy_j"] for pool in energy["pools"]))


def test_too_much_extrapolation_fails_the_run(tmp_path: Path) -> None:
    """The roofline measures nothing, so a run that allows half of it to be extrapolated fails and leaves nothing."""
    with pytest.raises(InputError, match=r"predictor\.max_extrapolated is 0\.5"):
        _run(tmp_path, predictor__max_extrapolated=0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_calibrated_run_reports_its_error_band(tmp_path: Path) -> None:
    """A run on the fitted profile counts as measured on a device it was fitted on, and Little's law holds with the
    API server's share of every request.
    """
    summary = _run(tmp_path, predictor="{kind: physical}", fleet__pools__0__engine__version="'0.15'").summary
    assert summary["predictor_coverage"]["measured_ratio"] == 1.0
    assert isinstance(summary["predictor_coverage"]["error_band_percent"], dict)
    assert summary["checks"]["little"]["holds"]
