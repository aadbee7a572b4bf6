"""Effects of a study's predictor block on a whole run: noise, energy, the limit on extrapolation."""

from pathlib import Path

import pytest

from cluster_sim.errors import InputError
from tests.small_run import run_small


@pytest.mark.parametrize("stages", [1, 2])
def test_noise_does_not_depend_on_macro_steps(tmp_path: Path, stages: int) -> None:
    """Noisy step times give the same digest for macro-steps and single steps, and another for another seed."""
    staged, noisy = f"fleet.pools.0.pipeline_parallel={stages}", "predictor.jitter_ratio=0.1"
    macro = run_small(tmp_path, staged, noisy)
    single = run_small(tmp_path, staged, noisy, "run.macro_steps=false")
    quiet = run_small(tmp_path, staged)
    assert macro.digest == single.digest != quiet.digest
    assert macro.summary["checks"]["little"]["holds"]


def test_energy_of_a_run(tmp_path: Path) -> None:
    """Mean power lies between idle and full power of both GPUs, and the figures fit together."""
    summary = run_small(tmp_path).summary
    energy = summary["energy"]
    assert 2 * 0.15 * 700 < energy["mean_power_w"] < 2 * 700
    assert energy["energy_j"] == pytest.approx(energy["mean_power_w"] * summary["simulated_s"])
    assert energy["j_per_request"] == pytest.approx(energy["energy_j"] / 150)
    assert energy["energy_j"] == pytest.approx(sum(pool["energy_j"] for pool in energy["pools"]))


def test_too_much_extrapolation_fails_the_run(tmp_path: Path) -> None:
    """The roofline measures nothing, so a run that allows half of it to be extrapolated fails and leaves nothing."""
    with pytest.raises(InputError, match=r"predictor\.max_extrapolated is 0\.5"):
        run_small(tmp_path, "predictor.max_extrapolated=0.5")
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_calibrated_run_reports_its_error_band(tmp_path: Path) -> None:
    """A run on the fitted profile counts as measured on a device it was fitted on, and Little's law holds with the
    API server's share of every request.
    """
    summary = run_small(tmp_path, "predictor={kind: physical}", "fleet.pools.0.engine.version='0.15'").summary
    assert summary["predictor_coverage"]["measured_ratio"] == 1.0
    assert "ttft_p99" in summary["predictor_coverage"]["error_band_percent"]
    assert summary["checks"]["little"]["holds"]
