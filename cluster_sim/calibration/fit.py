"""Calibration: the coefficients of the physical step model, fitted to end-to-end results.

Design.  Residuals are logarithms of simulated over measured TPOT and TTFT per run and load stage, repeated runs of a
configuration sharing one weight, large ones weighted down (Huber).  Every coefficient has a log-normal prior - a
data-sheet value with a generous width - which decides where the data says nothing and keeps extrapolation physical.

Each evaluation replays runs with the simulator itself, so queues and batches react to the coefficients.  To make that
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
from cluster_sim.calibration.measure import figures
from cluster_sim.calibration.replay import Setup, replay, set_up
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.calibration import OperatorRatios, PhysicalProfile, Provenance
from cluster_sim.hardware.predictors.coefficients import Coefficients
from cluster_sim.hardware.predictors.kinds.physical import PhysicalPredictor

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
ENGINE: Final = "vllm"
REFERENCE_DEVICE: Final = "h100-sxm"

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


COMMON: Final = (
    Parameter("step_us", 300.0, 0.5),
    Parameter("layer_us", 40.0, 0.4),
    Parameter("gemm_memory_ratio", 0.9, 0.1),
    Parameter("moe_memory_ratio", 0.9, 0.12),
    Parameter("kv_memory_ratio", 0.9, 0.15),
    Parameter("gemm_flops_ratio", 0.65, 0.25),
    Parameter("attention_flops_ratio", 0.5, 0.4),
    Parameter("smooth_power", 3.0, 0.3),
    Parameter("moe_layer_us", 50.0, 0.6),
    Parameter("qk_norm_us", 5.0, 0.5),
    Parameter("mix_layer_us", 5.0, 0.8),
    Parameter("sequence_us", 5.0, 0.8),
    Parameter("sort_us", 200.0, 0.7),
    Parameter("sort_bytes_per_entry", 500.0, 0.6),
    Parameter("all_reduce_us", 7.2, 0.5),
    Parameter("all_reduce_ratio", 0.5, 0.4),
    Parameter("frontend_us", 6000.0, 0.4),
    Parameter("frontend_us_per_token", 2.0, 0.7),
)
"""What holds for every device and version, with data-sheet and order-of-magnitude priors."""
FIXED: Final = {"token_us": 0.08}
"""Coefficients that the data cannot tell apart from others."""
BY_VERSION: Final = (
    Parameter("frontend_us", 4000.0, 0.4, "version:0.23"),
    Parameter("sort_us", 60.0, 1.5, "version:0.23"),
)
"""What changed between versions: the API server, and the sampler's kernels."""
BY_DEVICE: Final = (
    ("kv_memory_ratio", 0.6),
    ("gemm_memory_ratio", 0.1),
    ("sort_bytes_per_entry", 1.0),
)
"""(coefficient, width) refitted for the other GPUs that have end-to-end runs, around what the operators carry over."""
FLASH_ATTENTION_2: Final[dict[str, float]] = {"lone_tile_rows": 64}
"""The tile of FlashAttention 2 with 128-wide heads, which vLLM uses except on Hopper and Blackwell data-centre GPUs."""


@dataclass(frozen=True, slots=True)
class Run:
    """A case made ready for fitting."""

    case: Case
    setup: Setup
    short: Case
    keys: tuple[Key, ...]
    weights: FloatArray


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


def prepare(cases: Sequence[Case]) -> list[Run]:
    """Return the runs fit for fitting: neither overloaded nor saturated, a measurement given twice once."""
    usable = [case for case in cases if not case.is_overloaded and "(saturated)" not in case.workload]
    first = {case.fold or case.run: case for case in reversed(usable)}
    chosen = [case for case in usable if first[case.fold or case.run] is case or case.run.endswith("__vanilla")]
    counts = Counter(case.group for case in chosen)
    runs = []
    for case in chosen:
        stages = sorted({stage for stage, _ in case.measured if stage != WHOLE_RUN})
        scored = stages if len(stages) > 1 else [WHOLE_RUN]
        keys = tuple(
            (stage, metric)
            for stage in scored
            for metric in ("tpot_mean", "ttft_mean")
            if (stage, metric) in case.measured
        )
        share = 1.0 / math.sqrt(len(scored) * counts[case.group])
        weights = np.array([share * (TTFT_WEIGHT if metric == "ttft_mean" else 1.0) for _, metric in keys])
        runs.append(Run(case, set_up(case), shorten(case), keys, weights))
    if not runs:
        raise InputError("nothing to fit: no run below saturation with measured TPOT and TTFT")
    return runs


class Calibration:
    """Fits parameters to runs; positions are logarithms of the coefficients over their priors."""

    def __init__(
        self,
        runs: list[Run],
        parameters: Sequence[Parameter],
        base: PhysicalProfile,
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

    def profile(self, position: FloatArray) -> PhysicalProfile:
        """Return the profile at a position."""
        values = [
            parameter.prior * math.exp(offset)
            for parameter, offset in zip(self.parameters, position.tolist(), strict=True)
        ]
        common = dict(self._base.coefficients)
        common |= {
            parameter.name: value
            for parameter, value in zip(self.parameters, values, strict=True)
            if not parameter.scope
        }
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

    def resolve(self, profile: PhysicalProfile, run: Run) -> Coefficients:
        """Return a profile's coefficients for a run."""
        return profile.resolve(run.setup.hardware.device, run.setup.hardware.engine.version, self._operators)

    def coefficients(self, position: FloatArray, run: Run) -> Coefficients:
        """Return the coefficients at a position for a run."""
        return self.resolve(self.profile(position), run)

    def residuals(self, profile: PhysicalProfile, run: Run, *, is_short: bool) -> FloatArray:
        """Return weighted log ratios of simulated to measured figures; a figure that is missing counts as no error."""
        coefficients = self.resolve(profile, run)
        case = run.short if is_short else run.case
        result = replay(case, run.setup, PhysicalPredictor(coefficients, run.setup.hardware))
        table = case.requests
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
            profile = self.profile(position)
            is_anchor = bool(np.array_equal(position, self._anchor))
            rows: list[FloatArray] = []
            for index in chosen:
                value = self._anchored[index]
                if not is_anchor:
                    short = self.residuals(profile, self.runs[index], is_short=True)
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
        profile = self.profile(position)
        self._anchor = position.copy()
        self._anchored_short = [self.residuals(profile, run, is_short=True) for run in self.runs]
        self._anchored = self._anchored_short
        if not is_rough:
            self._anchored = [self.residuals(profile, run, is_short=False) for run in self.runs]
        if keep_jacobian:
            return
        self.jacobian = [np.zeros((len(run.keys), len(position))) for run in self.runs]
        for column, parameter in enumerate(self.parameters):
            moved = position.copy()
            moved[column] += DIFFERENCE_LOG
            there = self.profile(moved)
            for index, run in enumerate(self.runs):
                if _concerns(parameter, run):
                    value = self.residuals(there, run, is_short=True)
                    self.jacobian[index][:, column] = (value - self._anchored_short[index]) / DIFFERENCE_LOG

    def _summary(self, position: FloatArray) -> str:
        values = []
        for parameter, offset in zip(self.parameters, position.tolist(), strict=True):
            scope = f"@{parameter.scope}" if parameter.scope else ""
            values.append(f"{parameter.name}{scope}={parameter.prior * math.exp(offset):.4g}")
        return " ".join(values)


def _concerns(parameter: Parameter, run: Run) -> bool:
    """Whether a coefficient can move a run at all; replaying where it cannot would only cost time."""
    model, tensor = run.setup.hardware.model, run.case.tensor_parallel
    version = tuple(int(part) for part in (run.setup.hardware.engine.version or "0").split("."))
    match parameter.scope.split(":"):
        case ["version", wanted] if version < tuple(int(part) for part in wanted.split(".")):
            return False
        case ["device", wanted] if run.setup.hardware.device.name != wanted:
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


def default_parameters(runs: list[Run]) -> list[Parameter]:
    """Return the parameters that the runs can say something of."""
    chosen = [parameter for parameter in COMMON if any(_concerns(parameter, run) for run in runs)]
    chosen += [parameter for parameter in BY_VERSION if any(_concerns(parameter, run) for run in runs)]
    for device in sorted({run.setup.hardware.device.name for run in runs} - {REFERENCE_DEVICE}):
        own = [Parameter(name, 1.0, width, f"device:{device}") for name, width in BY_DEVICE]
        chosen += [parameter for parameter in own if any(_concerns(parameter, run) for run in runs)]
    return chosen


def blank_profile(name: str, data: str, command: str, operators: str) -> PhysicalProfile:
    """Return a profile that holds the priors, to be filled by a fit."""
    return PhysicalProfile(
        name=name,
        engine=ENGINE,
        provenance=Provenance(data=data, command=command),
        coefficients={parameter.name: parameter.prior for parameter in COMMON} | FIXED,
        architectures={"ampere": FLASH_ATTENTION_2, "ada": FLASH_ATTENTION_2},
        devices={"rtx-pro-6000": FLASH_ATTENTION_2},
        versions={"0.15": {}},
        reference_device=REFERENCE_DEVICE,
        operators=operators,
    )
