"""Scoreboard: every case simulated with frozen coefficients, errors summed up; the caller prints the text."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cluster_sim.calibration.case import WHOLE_RUN, Case, Key
from cluster_sim.calibration.case_run import ResolvedCase, resolve_case
from cluster_sim.calibration.latency_figures import percentage_error
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.hardware.predictors.kinds.physical import PhysicalOptions
from cluster_sim.hardware.predictors.pool_predictor import build_predictor
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from validation import power, silicon
from validation.disaggregated import score_disaggregated
from validation.ground_truth import load_all
from validation.operators import operator_predictor
from validation.scoring import Score, Skipped, peer_summary, score, scoreboard
from validation.seeds import run_seeds

SHOWN: Final = (
    "ttft_mean",
    "tpot_mean",
    "e2e_mean",
    "ttft_p99",
    "e2e_p99",
    "requests_per_s",
    "tokens_per_s",
    "full_steps_per_s",
)

DEFAULT_CALIBRATION: Final = "vllm"
"""The frozen coefficients of the physical step model for vLLM's v1 engine."""

Report = Callable[[str], None]


@dataclass(slots=True)
class Board:
    """Results of a run of the scoreboard."""

    scores: list[Score] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    points: list[silicon.Point] = field(default_factory=list)
    apart: dict[str, list[silicon.Point]] = field(default_factory=dict)
    """The same with prefill and decode apart, by the figure."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Processor time of each run."""
    power: dict[str, dict[str, float]] = field(default_factory=dict)
    """Errors of joules per token by phase, with the shipped coefficients and with degrees left out."""
    spread: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of runs near saturation: standard deviation between seeds in percent, by figure."""
    extrapolated: dict[str, float] = field(default_factory=dict)
    """Share of each run's steps outside the measured region."""

    def as_json(self) -> dict[str, Any]:
        """Return the file's content."""
        result = scoreboard(self.scores)
        if self.points:
            consistent = [point for point in self.points if not point.contradiction]
            result["datasets"][silicon.DATASET] = silicon.summary(consistent)
            if len(consistent) < len(self.points):
                result["with_refused"][silicon.DATASET] = silicon.summary(self.points)
            result["runs"] += [
                {
                    "dataset": silicon.DATASET,
                    "run": point.run,
                    "metric": "tpot_mean",
                    "measured": point.measured_s,
                    "simulated": point.simulated_s,
                    "error": percentage_error(point.simulated_s, point.measured_s),
                }
                for point in self.points
            ]
        for metric, points in self.apart.items():
            result["datasets"][f"{silicon.DATASET}, apart, {metric}"] = silicon.summary(points)
        result["peers"] = peer_summary(self.cases)
        refused = [(case.dataset, case.run, case.contradiction) for case in self.cases if case.contradiction]
        refused += [(silicon.DATASET, point.run, point.contradiction) for point in self.points if point.contradiction]
        result["refused"] = [{"dataset": name, "run": run, "reason": reason} for name, run, reason in refused]
        result["spread"] = self.spread
        result["power"] = self.power
        result["skipped"] = [{"dataset": run.dataset, "run": run.run, "reason": run.reason} for run in self.skipped]
        result["seconds"] = self.seconds
        result["extrapolated"] = self.extrapolated
        return result


def run_board(
    folder: Path,
    report: Report,
    only: tuple[str, ...] = (),
    calibration: str = DEFAULT_CALIBRATION,
    operators: Path | None = None,
) -> Board:
    """Simulate every run under ``folder`` with frozen predictors; a run that cannot be simulated is skipped by itself.

    ``operators`` is the folder of operator profiles for runs on GPUs that have them.
    """
    board = Board()
    board.cases, board.skipped = load_all(folder, only)
    for case in board.cases:
        try:
            resolved = resolve_case(case)
            predictor = case_predictor(resolved, calibration, operators)
            start = time.process_time()
            simulated, spread, result = run_seeds(resolved, predictor)
        except (InputError, UnfinishedError, ValueError) as error:
            board.skipped.append(Skipped(case.dataset, case.run, str(error)))
            continue
        name = f"{case.dataset}/{case.run}"
        board.seconds[name] = time.process_time() - start
        board.extrapolated[name] = result.coverage.extrapolated / max(1, sum(result.coverage))
        if spread:
            board.spread[name] = spread
        board.scores += score(case, simulated)
        report(describe(case, simulated))
    if (folder / power.DATASET).is_dir() and (not only or power.DATASET in only):
        board.power = power.score_power(folder / power.DATASET)
    if (folder / silicon.DATASET).is_dir() and (not only or silicon.DATASET in only):
        points, skipped = silicon.score_silicon(folder / silicon.DATASET, calibration)
        ttft, tpot, _ = score_disaggregated(folder / silicon.DATASET, calibration)
        board.points, board.skipped = points, board.skipped + skipped
        board.apart = {"ttft_mean": ttft, "tpot_mean": tpot}
    return board


def case_predictor(resolved: ResolvedCase, calibration: str, operators: Path | None) -> Predictor:
    """Return the predictor of a case: its GPU's operators where they were measured, else frozen coefficients."""
    if resolved.case.has_operators and operators is not None:
        with suppress(InputError):
            return operator_predictor(resolved, operators, calibration)
    return build_predictor(PhysicalOptions(profile=resolved.case.calibration or calibration), resolved.hardware)


def describe(case: Case, simulated: dict[Key, float]) -> str:
    """Return one line with the signed errors of a run."""
    parts = [
        f"{metric} {100 * (simulated[WHOLE_RUN, metric] / case.measured[WHOLE_RUN, metric] - 1):+.1f}"
        for metric in SHOWN
        if case.measured.get((WHOLE_RUN, metric)) and (WHOLE_RUN, metric) in simulated
    ]
    mark = " (overloaded: throughput only)" if case.is_overloaded else ""
    mark += " (contradicts itself)" if case.contradiction else ""
    return f"{case.run[:52]:52s} {'  '.join(parts)}{mark}"
