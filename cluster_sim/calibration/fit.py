"""Calibration: the coefficients of the physical step model, fitted to end-to-end results.

Design.  Residuals are logarithms of simulated over measured TPOT and TTFT per run and load stage, repeated runs of a
configuration sharing one weight, large ones weighted down (Huber).  Every coefficient has a log-normal prior - a
data-sheet value with a generous width - which decides where the data says nothing and keeps extrapolation physical.

Each evaluation simulates the runs, so queues and batches react to the coefficients.  To make that
affordable, changes are evaluated on *short* copies of the runs (the first part of each load stage), and only their
differences are used: residual(theta) = full residual(anchor) + short(theta) - short(anchor).  Gauss-Newton steps take
their Jacobian from the same short runs with common random numbers, one per anchor.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cluster_sim.calibration.case import WHOLE_RUN, Case, FloatArray, Key
from cluster_sim.calibration.case_run import ResolvedCase, resolve_case, run_case
from cluster_sim.calibration.latency_figures import figures
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.calibration_file import Calibration, OperatorRatios
from cluster_sim.hardware.predictors.coefficients import Coefficients, at_most
from cluster_sim.hardware.predictors.kinds.physical import PhysicalPredictor
from cluster_sim.hardware.replica_hardware import ReplicaHardware

TTFT_WEIGHT: Final = 0.5
"""Weight of a TTFT residual beside TPOT's: it depends on the API server's noise as much as on the step."""
HUBER_LOG: Final = 0.06
"""Residuals beyond this are weighted down."""
PRIOR_WEIGHT: Final = 0.1
"""Weight of the priors: residuals of the size of the noise between repeated runs count like one prior width each."""
DIFFERENCE_LOG: Final = 0.05
"""Step of the finite differences, in the logarithm of a coefficient."""
LARGEST_STEP_LOG: Final = 0.5
SMALL_STEP_LOG: Final = 0.05
"""A step within which the linearisation holds: it ends the iteration."""
SHORT_STAGE_S: Final = 40.0
"""Simulated seconds of each load stage in a short copy."""
FEWEST_OF_STAGE: Final = 300
"""Fewest requests of a stage in a short copy: the first hundred may still fill the prefix cache."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One coefficient to be fitted."""

    name: str
    """A field of ``Coefficients``."""
    prior: float
    """In the scope of a device: of what the common value comes to there by the operators of both devices."""
    width: float
    """Standard deviation of the prior, in the logarithm."""
    scope: str = ""
    """Empty, or "version:0.23", or "device:l40s": where the value overrides the common one."""


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A case made ready for fitting."""

    whole: ResolvedCase
    short: ResolvedCase
    """With the first part of each load stage only."""
    keys: tuple[Key, ...]
    """The measured figures that are fitted."""
    weights: FloatArray
    """One a key."""

    @property
    def case(self) -> Case:
        """The run as it was measured."""
        return self.whole.case

    @property
    def hardware(self) -> ReplicaHardware:
        """Hardware of the run's predictor."""
        return self.whole.hardware


def shorten(case: Case, stage_s: float = SHORT_STAGE_S) -> Case:
    """Return the case with only the first ``stage_s`` seconds of each load stage (more where it has few requests), the
    stages moved together.
    """
    table = case.requests
    kept: list[FloatArray] = []
    chosen: list[np.ndarray] = []
    start_s = 0.0
    for stage in sorted(set(table.stage.tolist())):
        rows = np.flatnonzero(table.stage == stage)
        first_s = 0.0 if start_s == 0.0 else float(table.arrival_s[rows[0]])
        least = min(len(rows), FEWEST_OF_STAGE) - 1
        length_s = max(stage_s, float(table.arrival_s[rows[least]]) - first_s)
        rows = rows[table.arrival_s[rows] - first_s <= length_s]
        chosen.append(rows)
        kept.append(table.arrival_s[rows] - first_s + start_s)
        start_s += length_s
    index = np.concatenate(chosen)
    requests = replace(
        table,
        arrival_s=np.concatenate(kept),
        prompt_tokens=table.prompt_tokens[index],
        output_tokens=table.output_tokens[index],
        stage=table.stage[index],
        prompt_ids=None if table.prompt_ids is None else table.prompt_ids[index],
        segments=None if table.segments is None else tuple(table.segments[row] for row in index.tolist()),
    )
    return replace(case, requests=requests)


def prepare(cases: Sequence[Case]) -> list[PreparedRun]:
    """Return the runs fit for fitting: neither overloaded, saturated nor self-contradicting; each measured run once."""
    usable = [
        case for case in cases if not (case.is_overloaded or case.contradiction) and "(saturated)" not in case.workload
    ]
    first = {case.fold or case.run: case for case in reversed(usable)}
    chosen = [case for case in usable if first[case.fold or case.run] is case or case.run.endswith("__vanilla")]
    counts = Counter(case.group for case in chosen)
    runs = []
    for case in chosen:
        stages = sorted({stage for stage, _ in case.measured if stage != WHOLE_RUN})
        scored = stages if len(stages) > 1 else [WHOLE_RUN]
        keys = tuple(key for stage in scored for key in fitted_figures(case, stage))
        share = 1.0 / math.sqrt(len(scored) * counts[case.group])
        weights = np.array([share * (TTFT_WEIGHT if metric.startswith("ttft") else 1.0) for _, metric in keys])
        whole = resolve_case(case)
        runs.append(PreparedRun(whole, replace(whole, case=shorten(case)), keys, weights))
    if not runs:
        raise InputError("nothing to fit: no run below saturation with measured TPOT and TTFT")
    return runs


def fitted_figures(case: Case, stage: int) -> list[Key]:
    """Return the figures of a stage that are fitted: of steps and of first tokens, the best that was measured."""
    found = []
    for choices in (("tpot_mean", "e2e_mean"), ("ttft_mean", "ttft_p50")):
        found += [(stage, metric) for metric in choices if (stage, metric) in case.measured][:1]
    return found


class CalibrationFit:
    """Fits parameters to runs; positions are logarithms of the coefficients over their priors."""

    def __init__(
        self,
        runs: list[PreparedRun],
        parameters: Sequence[Parameter],
        base: Calibration,
        operators: OperatorRatios | None = None,
        report: Report = lambda _: None,
    ) -> None:
        """``base`` gives every coefficient that is not fitted; ``operators`` carry them to other devices."""
        self.runs = runs
        self.parameters = list(parameters)
        self.jacobian: list[FloatArray] = []
        self._base = base
        self._operators = operators
        self._report = report
        self._anchor: FloatArray = np.zeros(len(self.parameters))
        self._anchored: list[FloatArray] = []
        self._anchored_short: list[FloatArray] = []

    def calibration(self, position: FloatArray) -> Calibration:
        """Return the calibration at a position."""
        pairs = list(zip(self.parameters, position.tolist(), strict=True))
        values = [at_most(parameter.name, parameter.prior * math.exp(offset)) for parameter, offset in pairs]
        common = dict(self._base.coefficients)
        for parameter, value in zip(self.parameters, values, strict=True):
            if not parameter.scope:
                common[parameter.name] = value
        versions = {name: dict(own) for name, own in self._base.versions.items()}
        devices = {name: dict(own) for name, own in self._base.devices.items()}
        for parameter, value in zip(self.parameters, values, strict=True):
            match parameter.scope.split(":"):
                case ["version", name]:
                    versions.setdefault(name, {})[parameter.name] = value
                case ["device", name]:
                    carried = common
                    if self._operators is not None:
                        reference = self._base.reference_device
                        carried = self._operators.transfer(common, self._base.engine, reference, name)
                    devices.setdefault(name, {})[parameter.name] = value * carried[parameter.name]
        return self._base.model_copy(update={"coefficients": common, "versions": versions, "devices": devices})

    def resolve(self, calibration: Calibration, run: PreparedRun) -> Coefficients:
        """Return a calibration's coefficients for a run."""
        hardware = run.hardware
        return calibration.resolve(
            hardware.device, hardware.engine.version, self._operators, "", hardware.expert_format
        )

    def coefficients(self, position: FloatArray, run: PreparedRun) -> Coefficients:
        """Return the coefficients at a position for a run."""
        return self.resolve(self.calibration(position), run)

    def residuals(self, calibration: Calibration, run: PreparedRun, *, is_short: bool) -> FloatArray:
        """Return weighted log ratios of simulated to measured figures; a figure that is missing counts as no error."""
        resolved = run.short if is_short else run.whole
        result = run_case(resolved, PhysicalPredictor(self.resolve(calibration, run), run.hardware))
        table = resolved.case.requests
        stages = tuple(stage for stage, _ in run.keys if stage != WHOLE_RUN)
        simulated = figures(result.ttft_s, result.e2e_s, result.sent_s, table.output_tokens, table.stage, stages)
        logs = [math.log(simulated[key] / run.case.measured[key]) if key in simulated else 0.0 for key in run.keys]
        weighted: FloatArray = run.weights * np.array(logs)
        return weighted

    def fit(self, rounds: int = 2) -> FloatArray:
        """Return the best position: from the priors, ``rounds`` anchors with a new Jacobian each.

        All but the last round stay on the short copies: they only have to come near.
        """
        everything = list(range(len(self.runs)))
        position = np.zeros(len(self.parameters))
        for number in range(rounds):
            self._set_anchor(position, is_rough=number + 1 < rounds)
            position = self.solve(everything, position)
            self._report(f"calibration round {number + 1} of {rounds}: {self._summary(position)}")
        self._set_anchor(position, keep_jacobian=True)
        return position

    def solve(self, chosen: list[int], start: FloatArray, iterations: int = 2) -> FloatArray:
        """Return the position that fits the ``chosen`` runs, by Gauss-Newton steps with the anchor's Jacobian."""
        position = start.copy()
        for _ in range(iterations):
            calibration = self.calibration(position)
            is_anchor = bool(np.array_equal(position, self._anchor))
            rows: list[FloatArray] = []
            for index in chosen:
                value = self._anchored[index]
                if not is_anchor:
                    short = self.residuals(calibration, self.runs[index], is_short=True)
                    value = value + short - self._anchored_short[index]
                rows.append(value)
            residual = np.concatenate(rows)
            huber = np.sqrt(1.0 / np.maximum(1.0, np.abs(residual) / HUBER_LOG))
            jacobian = np.concatenate([self.jacobian[index] for index in chosen]) * huber[:, None]
            widths = np.array([parameter.width for parameter in self.parameters])
            matrix = np.vstack([jacobian, np.diag(PRIOR_WEIGHT / widths)])
            target = -np.concatenate([residual * huber, PRIOR_WEIGHT * position / widths])
            step = np.linalg.lstsq(matrix, target, rcond=None)[0]
            largest = float(np.abs(step).max())
            position = position + step * min(1.0, LARGEST_STEP_LOG / largest if largest else 1.0)
            if largest < SMALL_STEP_LOG:
                break
        return position

    def _set_anchor(self, position: FloatArray, *, is_rough: bool = False, keep_jacobian: bool = False) -> None:
        calibration = self.calibration(position)
        self._anchor = position.copy()
        self._anchored_short = [self.residuals(calibration, run, is_short=True) for run in self.runs]
        self._anchored = self._anchored_short
        if not is_rough:
            self._anchored = [self.residuals(calibration, run, is_short=False) for run in self.runs]
        if keep_jacobian:
            return
        self.jacobian = [np.zeros((len(run.keys), len(position))) for run in self.runs]
        for column, parameter in enumerate(self.parameters):
            moved = position.copy()
            moved[column] += DIFFERENCE_LOG
            there = self.calibration(moved)
            for index, run in enumerate(self.runs):
                if concerns(parameter, run):
                    value = self.residuals(there, run, is_short=True)
                    self.jacobian[index][:, column] = (value - self._anchored_short[index]) / DIFFERENCE_LOG

    def _summary(self, position: FloatArray) -> str:
        values = []
        for parameter, offset in zip(self.parameters, position.tolist(), strict=True):
            scope = f"@{parameter.scope}" if parameter.scope else ""
            values.append(f"{parameter.name}{scope}={parameter.prior * math.exp(offset):.4g}")
        return " ".join(values)


def concerns(parameter: Parameter, run: PreparedRun) -> bool:
    """Return whether a coefficient can move a run at all; simulating it where it cannot would only cost time."""
    model, tensor = run.hardware.model, run.hardware.tensor_parallel
    version = tuple(int(part) for part in (run.hardware.engine.version or "0").split("."))
    match parameter.scope.split(":"):
        case ["version", wanted] if version < tuple(int(part) for part in wanted.split(".")):
            return False
        case ["device", wanted] if run.hardware.device.name != wanted:
            return False
    if parameter.name.startswith("moe_"):
        return model.is_moe
    if parameter.name.startswith("all_reduce"):
        return tensor > 1
    if parameter.name.startswith("sort_"):
        return model.default_sampling.is_sorting
    if parameter.name == "qk_norm_us":
        return model.use_qk_norm
    return True
