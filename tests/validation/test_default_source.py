"""The default source of step times on measured runs."""

from pathlib import Path

from cluster_sim.calibration.case_run import resolve_case
from cluster_sim.hardware.predictors.kinds.auto import AutoOptions
from cluster_sim.hardware.predictors.pool_predictor import build_predictor
from validation.default_source import h100_cases, outcomes


def test_the_default_is_within_3_percent_of_runs_of_its_engine(shared: Path) -> None:
    """On H100 runs of vLLM 0.15 without a cache in host memory the coefficients measured with that engine are chosen,
    and on every fourth of them (the scoreboard's ``--default-source`` has all) the mean E2E error is at most 3 %.
    """
    cases = h100_cases(shared / "ground-truth")
    assert len(cases) == 19
    for case in cases:
        predictor = build_predictor(AutoOptions(), resolve_case(case).hardware)
        assert predictor.label == "physical (vllm)"
        assert "measured with this engine, device, architecture, precision and TP" in predictor.choice
    found = list(outcomes(cases[::4], AutoOptions()))
    assert not any(outcome.is_on_edge for outcome in found)
    assert sum(outcome.error_percent for outcome in found) / len(found) <= 3.0
