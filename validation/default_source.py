"""The source of step times that a study gets by default, held against runs that were measured with its own engine.

The runs are those of vLLM 0.15 on H100 whose server had no KV cache in host memory, which ``predictor: {kind: auto}``
must price with the coefficients calibrated with that engine.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cluster_sim.calibration.case import WHOLE_RUN, Case
from cluster_sim.calibration.case_run import resolve_case, run_case
from cluster_sim.calibration.latency_figures import percentage_error
from cluster_sim.calibration.tables import read_rows
from cluster_sim.hardware.predictors.pool_predictor import build_predictor
from cluster_sim.hardware.predictors.predictor_interface import PredictorBlock
from validation.ground_truth import load_all
from validation.scoring import AGGREGATES
from validation.seeds import simulated_figures

E2E = (WHOLE_RUN, "e2e_mean")


class Outcome(NamedTuple):
    """One run."""

    run: str
    source: str
    choice: str
    error_percent: float
    """Of the mean time to the last token."""
    is_on_edge: bool


def h100_cases(data: Path) -> list[Case]:
    """Return the runs on H100 without a KV cache in host memory."""
    rows = read_rows(data / AGGREGATES / "measured.csv", ("set", "exp_id", "gpu", "cpu_offload"))
    wanted = {f"{row['set']}/{row['exp_id']}" for row in rows if (row["gpu"], row["cpu_offload"]) == ("H100", "False")}
    return [case for case in load_all(data, (AGGREGATES,))[0] if case.run in wanted]


def outcomes(cases: list[Case], options: PredictorBlock) -> Iterator[Outcome]:
    """Simulate cases with the predictor that a study's block describes."""
    for case in cases:
        resolved = resolve_case(case)
        predictor = build_predictor(options, resolved.hardware)
        result = run_case(resolved, predictor, is_watched=True)
        error = percentage_error(simulated_figures(case, result)[E2E], case.measured[E2E])
        yield Outcome(case.run, predictor.label, predictor.choice, error, bool(result.is_on_edge))
