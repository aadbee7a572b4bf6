"""Values outside the fit: what the scoreboard and its cross-validation say, by the case that each run was then.

A run of the cross-validation belongs to the case that the runs kept in the fit make it, judged as a study's replica is;
a run near saturation, by the occupancy that the frozen coefficients give it, to that case instead.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from cluster_sim.calibration.case import WHOLE_RUN, Case
from cluster_sim.calibration.case_run import resolve_case, run_case
from cluster_sim.calibration.fit import prepare
from cluster_sim.hardware.predictors.calibrated_source import case_of
from cluster_sim.hardware.predictors.calibration_file import load_calibration, load_operator_ratios
from cluster_sim.hardware.predictors.error_band import BandCase
from cluster_sim.hardware.predictors.error_band_file import NEAR_SATURATION, ShownFor
from cluster_sim.hardware.predictors.measured_with import Kinship, MeasuredWith
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.metrics.verdicts import BANDED_FIGURES
from validation import apex, llmservingsim, silicon
from validation.bands import LeftOut
from validation.board import DEFAULT_CALIBRATION, case_predictor
from validation.cross_validation import DATASETS, OPERATORS
from validation.ground_truth import load_all
from validation.measured_configurations import measured_configurations
from validation.operators import find_operators

UNITS: Final[dict[str, Callable[[Case, Case], bool]]] = {
    "run left out": lambda case, other: (case.fold or case.run) == (other.fold or other.run),
    "configuration left out": lambda case, other: _unit(case) == _unit(other),
    "device left out": lambda case, other: _unit(case)[1] == _unit(other)[1],
}
"""Which other runs were left out with one, by scheme."""


def left_out_values(data: Path, scores: dict[str, Any]) -> list[LeftOut]:
    """Return every figure with a band of every run that was outside a fit."""
    cases = {(case.dataset, case.run): case for case in load_all(data)[0]}
    full = _Occupancies(data, cases)
    values: dict[tuple[str, str, str], LeftOut] = {}
    fitted = [run.case for run in prepare([case for case in cases.values() if case.dataset in DATASETS])]
    refused = {(row["dataset"], row["run"]) for row in scores["refused"]}
    for scheme, board in scores["cross_validation"].items():
        kept_by_run: dict[tuple[str, str], str] = {}
        for row in board["runs"]:
            key = (row["dataset"], row["run"])
            if key not in kept_by_run:
                kept = [case for case in fitted if not UNITS[scheme](cases[key], case)]
                kept_by_run[key] = NEAR_SATURATION if full.is_full(key) else judged(cases[key], kept)
            _keep(values, kept_by_run[key], row)
    seen = {(case.dataset, case.run) for case in fitted} | _fitted_to(cases)
    for row in scores["runs"]:
        key = (row["dataset"], row["run"])
        if key in refused:
            continue
        if row["dataset"] == silicon.DATASET:
            _keep(values, BandCase.ENGINE_UNSEEN.value, row)
        elif key not in seen and (case := cases.get(key)) is not None and not case.prefill_replicas:
            _keep(values, NEAR_SATURATION if full.is_full(key) else _frozen_case(case), row)
    return list(values.values())


def judged(case: Case, kept: Iterable[Case]) -> str:
    """Return the case that a run is where only the runs ``kept`` were measured."""
    hardware = resolve_case(case).hardware
    return _case_of(hardware, measured_configurations(kept))


def shown_for(data: Path, scores: dict[str, Any]) -> tuple[ShownFor, ...]:
    """Return what the scored rows of unseen engines were measured with."""
    rows = {row["run"] for row in scores["runs"] if row["dataset"] == silicon.DATASET}
    found = set(silicon.configurations(data / silicon.DATASET, DEFAULT_CALIBRATION, rows))
    return tuple(sorted(found, key=lambda entry: tuple(entry.model_dump().values())))


def _unit(case: Case) -> tuple[str, str, int]:
    resolved = resolve_case(case)
    return resolved.hardware.model.name, resolved.hardware.device.name, case.tensor_parallel


def _frozen_case(case: Case) -> str:
    if case.has_operators:
        return BandCase.OPERATORS_SEEN.value
    calibration = load_calibration(case.calibration or DEFAULT_CALIBRATION)
    return _case_of(resolve_case(case).hardware, calibration.measured)


def _case_of(hardware: ReplicaHardware, measured: tuple[MeasuredWith, ...]) -> str:
    """Return the case of a replica of vLLM, whose kernels were measured."""
    has_operators = bool(load_operator_ratios(OPERATORS).nearest(hardware.device, "vllm"))
    return case_of(Kinship(hardware, measured), has_kernels=True, has_operators=has_operators).value


def _fitted_to(cases: dict[tuple[str, str], Case]) -> set[tuple[str, str]]:
    """Return the servers that profile vllm-0.6 was fitted to, and the run that version 0.13 was."""
    first: dict[tuple[MeasuredWith, str], tuple[str, str]] = {}
    for key, case in cases.items():
        if case.dataset == apex.DATASET:
            first.setdefault((MeasuredWith.of(resolve_case(case).hardware), case.run.rsplit("_", 1)[0]), key)
    synchronous = {
        key
        for key, case in cases.items()
        if case.dataset == llmservingsim.ISPASS and (WHOLE_RUN, "tpot_mean") in case.measured
    }
    return set(first.values()) | synchronous


def _keep(values: dict[tuple[str, str, str], LeftOut], case: str, row: dict[str, Any]) -> None:
    """Add a row of a scoreboard; what two schemes say of a run in one case counts once."""
    figure = row["metric"].rsplit(".", 1)[-1]
    if figure in BANDED_FIGURES and row["measured"] and row["simulated"]:
        run = f"{row['dataset']}/{row['run']}"
        value = LeftOut(case, figure, run, row["measured"], row["simulated"], figure == row["metric"])
        values.setdefault((case, run, row["metric"]), value)


class _Occupancies:
    """Whether runs sit near saturation, each simulated once with the frozen coefficients."""

    def __init__(self, data: Path, cases: dict[tuple[str, str], Case]) -> None:
        self._cases = cases
        self._operators = find_operators(data, Path.cwd())
        self._known: dict[tuple[str, str], bool] = {}

    def is_full(self, key: tuple[str, str]) -> bool:
        """Return whether a run sits near saturation."""
        if key not in self._known:
            self._known[key] = self._simulated(self._cases[key])
        return self._known[key]

    def _simulated(self, case: Case) -> bool:
        resolved = resolve_case(case)
        predictor = case_predictor(resolved, DEFAULT_CALIBRATION, self._operators)
        return bool(run_case(resolved, predictor, is_watched=True).is_on_edge)
