"""Cross-validation: every unit left out is really refitted, and its runs are then simulated in full."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cluster_sim.calibration.case import Case, FloatArray
from cluster_sim.calibration.fit import CalibrationFit, PreparedRun, prepare
from cluster_sim.hardware.predictors.calibration_file import load_operator_ratios
from cluster_sim.hardware.predictors.kinds.physical import PhysicalPredictor
from validation.scoring import Score, score, scoreboard
from validation.seeds import run_seeds
from validation.vllm_parameters import REFERENCE_DEVICE, blank_calibration, default_parameters

OPERATORS = "operator-ratios"
DATASETS = ("blis-vllm015-h100-requests", "blis-vllm015-aggregates", "residency-qwen3-14b-vllm023")
"""Data sets that the coefficients of vLLM's v1 engine are fitted to."""

Report = Callable[[str], None]


def calibrate_vllm(cases: list[Case], report: Report, rounds: int = 3) -> tuple[CalibrationFit, FloatArray]:
    """Fit the shared coefficients to the vLLM 0.15 and 0.23 runs among ``cases``."""
    runs = prepare([case for case in cases if case.dataset in DATASETS])
    operators = load_operator_ratios(OPERATORS)
    base = blank_calibration("vllm", "", "", OPERATORS)
    fit = CalibrationFit(runs, default_parameters(runs), base, operators, report)
    return fit, fit.fit(rounds)


def cross_validate(
    cases: list[Case], report: Report, fitted: tuple[CalibrationFit, FloatArray] | None = None
) -> dict[str, Any]:
    """Return the errors with each run, each (model, device, TP) and each device but the reference left out: a
    scoreboard each, by scheme.  Units of the same runs are refitted once.
    """
    fit, position = fitted or calibrate_vllm(cases, report)
    schemes: dict[str, Callable[[PreparedRun], tuple[Any, ...]]] = {
        "run left out": lambda run: (run.case.fold or run.case.run,),
        "configuration left out": lambda run: (
            run.case.model,
            run.hardware.device.name,
            run.case.tensor_parallel,
        ),
        "device left out": lambda run: (run.hardware.device.name,),
    }
    result: dict[str, Any] = {}
    known: dict[tuple[int, ...], FloatArray] = {}
    for name, unit_of in schemes.items():
        scores: list[Score] = []
        units: dict[tuple[Any, ...], list[int]] = {}
        for index, run in enumerate(fit.runs):
            units.setdefault(unit_of(run), []).append(index)
        for unit, left_out in units.items():
            if unit == (REFERENCE_DEVICE,):
                continue
            key = tuple(left_out)
            if key not in known:
                kept = [index for index in range(len(fit.runs)) if index not in left_out]
                known[key] = fit.solve(kept, position)
            refitted = known[key]
            moved = float(np.abs(refitted - position).max())
            for index in left_out:
                scores += simulate(fit, refitted, fit.runs[index])
            report(f"{name}: {' '.join(str(part) for part in unit)} (coefficients moved by up to {moved:.0%})")
        board = scoreboard(scores)
        result[name] = {"overall": board["overall"], "datasets": board["datasets"], "runs": board["runs"]}
        report(f"{name}: {board['overall']}")
    return result


def simulate(fit: CalibrationFit, position: FloatArray, run: PreparedRun) -> list[Score]:
    """Simulate a run in full with the coefficients at a position, and score it."""
    predictor = PhysicalPredictor(fit.coefficients(position, run), run.hardware)
    return score(run.case, run_seeds(run.whole, predictor).figures)
