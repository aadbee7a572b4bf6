"""Refit of a few coefficients to benchmarks of one server, and the file of the new calibration."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import yaml

from cluster_sim.atomic_file import whole_file
from cluster_sim.calibration.benchmark import Server, load_benchmarks
from cluster_sim.calibration.case import WHOLE_RUN, Case, FloatArray
from cluster_sim.calibration.case_run import resolve_case, run_case
from cluster_sim.calibration.fit import CalibrationFit, Parameter, prepare
from cluster_sim.calibration.latency_figures import MEAN_METRICS, figures, percentage_error
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.calibrated_source import CalibratedSource
from cluster_sim.hardware.predictors.calibration_file import Calibration, Provenance, resolve_coefficients
from cluster_sim.hardware.predictors.coefficients import Coefficients
from cluster_sim.hardware.predictors.kinds.physical import PhysicalPredictor
from cluster_sim.hardware.predictors.measured_with import MeasuredWith
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.output_target import FITTED_PROFILE

DEFAULT_COEFFICIENTS: Final = ("step_us", "gemm_memory_ratio", "kv_memory_ratio", "frontend_us")
WIDTH_LOG: Final = 0.5
"""How far, in the logarithm, a refit may go from the base before its prior pulls it back."""
FEWEST_TO_CROSS_VALIDATE: Final = 2
SAME_RATIO: Final = 1.2
"""Loads and mean lengths within this factor are the same."""
LARGEST_ERROR_PERCENT: Final = 30.0
"""A fit that misses a latency by more describes another server than the one that was measured."""
PROMPT_COEFFICIENTS: Final = ("gemm_flops_ratio", "attention_flops_ratio")
ROUNDS: Final = 4
"""Few coefficients and runs: more anchors cost little, and a server may lie far from the base."""


def refit(
    files: Sequence[Path],
    server: Server,
    base: str,
    names: Sequence[str],
    out: Path,
    command: str,
    *,
    is_forced: bool = False,
) -> list[str]:
    """Refit ``names`` to the benchmarks, write the calibration to ``out`` and return lines that say what came of it.

    Raises InputError for wrong files, names or settings, and, unless ``is_forced``, for a fit that no hardware can have
    or that misses its measurements; then nothing is written.
    """
    loaded = [load_benchmarks(path, server) for path in files]
    cases, notes = (
        [case for result in loaded for case in result.cases],
        [note for result in loaded for note in result.notes],
    )
    hardware = resolve_case(cases[0]).hardware
    values, blank = starting_point(files, hardware, base, names, out, command)
    parameters = [Parameter(name, values[name], WIDTH_LOG) for name in names]
    fit = CalibrationFit(prepare(cases), parameters, blank)
    position = fit.fit(ROUNDS)
    errors = cross_validated(fit, position, cases)
    fitted = fit.calibration(position)
    rounded = {name: round(value, 2) for name, value in errors.items()}
    if len(cases) >= FEWEST_TO_CROSS_VALIDATE:
        provenance = fitted.provenance.model_copy(update={"cross_validation": rounded})
        fitted = fitted.model_copy(update={"provenance": provenance})
    fitted = fitted.model_copy(update={"missed_percent": {name: rounded[name] for name in judged(errors)}})
    faults = faults_of_fit(names, values, fitted.coefficients, errors)
    refuse_faults(faults, notes, is_forced=is_forced)
    write_calibration(fitted, out, f"{FITTED_PROFILE.begins.decode()}\n")
    lines = [*notes, *faults]
    lines += [f"{name}: {values[name]:.4g} -> {fitted.coefficients[name]:.4g}" for name in names]
    kind = "left out" if len(cases) >= FEWEST_TO_CROSS_VALIDATE else "fitted, one run cannot be left out"
    lines.append(f"error ({kind}): " + ", ".join(f"{name} {value:.1f} %" for name, value in errors.items()))
    lines += [*remarks_on_variety(cases), band_line(fitted, hardware)]
    return [*lines, use_line(out)]


def starting_point(
    files: Sequence[Path], hardware: ReplicaHardware, base: str, names: Sequence[str], out: Path, command: str
) -> tuple[dict[str, float], Calibration]:
    """Return the coefficients of the base profile for a server, and a calibration of that server that holds them.

    Raises InputError for names that are no coefficients, or of ones that the base has not.
    """
    device = hardware.device
    calibration, start = resolve_coefficients(base, device, hardware.engine.version)
    unknown = [name for name in names if name not in Coefficients.model_fields]
    if unknown:
        raise InputError(f"unknown coefficients {', '.join(unknown)}; known: {', '.join(Coefficients.model_fields)}")
    values: dict[str, float] = start.model_dump()
    silent = [name for name in names if values[name] <= 0]
    if silent:
        raise InputError(f"{', '.join(silent)}: zero in {calibration.name}, so there is nothing to scale")
    blank = Calibration(
        name=out.stem,
        engine=hardware.engine.kernels or calibration.engine,
        provenance=Provenance(data=", ".join(path.name for path in files), command=command),
        coefficients=values,
        measured=(MeasuredWith.of(hardware),),
        reference_device=device.name,
    )
    return values, blank


def refuse_faults(faults: Sequence[str], notes: Sequence[str], *, is_forced: bool) -> None:
    """Raise InputError for a fit that is wrong, unless it is forced."""
    if faults and not is_forced:
        reasons = "\n".join([*faults, *notes])
        raise InputError(f"the fit is refused, and nothing is written; --force writes it all the same:\n{reasons}")


def faults_of_fit(
    names: Sequence[str], before: dict[str, float], after: dict[str, float], errors: dict[str, float]
) -> list[str]:
    """Return what is wrong with a fit: rates beyond the data sheet's, and latencies that miss their measurements."""
    faults = []
    for name in names:
        limit = max(1.0, before[name]) if name.endswith("_ratio") else float("inf")
        if after[name] > limit:
            faults.append(f"{name} ends at {after[name]:.4g}: beyond the physical, which is at most {limit:.4g}")
    missed = [name for name in judged(errors) if errors[name] > LARGEST_ERROR_PERCENT]
    faults += [f"the error of {name} is {errors[name]:.1f} %: more than {LARGEST_ERROR_PERCENT:g} %" for name in missed]
    more = [name for name in PROMPT_COEFFICIENTS if name not in names]
    if more and any(name.startswith("ttft") for name in missed):
        faults.append(f"first tokens are missed: --coefficient refits others too, of prompts {' and '.join(more)}")
    return faults


def judged(errors: dict[str, float]) -> list[str]:
    """Return the names of errors that decide over a fit: all, but a median of first tokens beside their mean."""
    return [name for name in errors if name != "ttft_p50" or "ttft" not in errors]


def remarks_on_variety(cases: Sequence[Case]) -> list[str]:
    """Return a remark if all runs have one load and one pair of lengths, which say nothing of others."""
    seen = set()
    for case in cases:
        table = case.requests
        rate = len(table) / max(float(np.ptp(table.arrival_s)), 1e-9)
        means = (rate, float(table.prompt_tokens.mean()), float(table.output_tokens.mean()))
        seen.add(tuple(round(math.log(mean) / math.log(SAME_RATIO)) for mean in means))
    spread = max(float(np.std(case.requests.output_tokens)) for case in cases)
    if len(seen) > 1 or spread > 0:
        return []
    remark = (
        "one load and one length were measured: what a step, a sequence and a cached token cost cannot be told apart; "
        "other loads may be missed by more than the band says, so measure a second one"
    )
    return [remark]


def use_line(out: Path) -> str:
    """Return how a study takes the profile."""
    return f"wrote {out}: use it with predictor: {{kind: physical, profile: {out}}}"


def band_line(calibration: Calibration, hardware: ReplicaHardware) -> str:
    """Return how far predictions with the new profile may be off for the server measured."""
    source = CalibratedSource.of(calibration, hardware)
    percent, missed = source.error_band.error_percent, calibration.missed_percent
    widths = {name: percent.get(f"{name}_mean", missed.get(name)) for name in MEAN_METRICS}
    shown = [f"{name} {width:.0f} %" for name, width in widths.items() if width is not None]
    return f"band ({source.case.words}, means): {', '.join(shown) or 'unknown'}"


def cross_validated(fit: CalibrationFit, position: FloatArray, cases: Sequence[Case]) -> dict[str, float]:
    """Return the mean errors in percent with each run left out (with one run: of the fit itself)."""
    errors: dict[str, list[float]] = {}
    everything = range(len(fit.runs))
    for index, run in enumerate(fit.runs):
        kept = [other for other in everything if other != index]
        chosen = fit.solve(kept, position) if len(cases) >= FEWEST_TO_CROSS_VALIDATE else position
        result = run_case(run.whole, PhysicalPredictor(fit.coefficients(chosen, run), run.hardware))
        table = run.case.requests
        simulated = figures(result.ttft_s, result.e2e_s, result.sent_s, table.output_tokens, table.stage)
        for name, metric in {**MEAN_METRICS, "ttft_p50": "ttft_p50"}.items():
            key = (WHOLE_RUN, metric)
            if key in run.case.measured and key in simulated:
                errors.setdefault(name, []).append(percentage_error(simulated[key], run.case.measured[key]))
    return {name: float(np.mean(values)) for name, values in errors.items()}


def write_calibration(calibration: Calibration, path: Path, comment: str = "") -> None:
    """Write a calibration as YAML, whole or not at all; figures have four significant digits."""
    content = calibration.model_dump(mode="json", exclude_defaults=True)
    content["kind"] = calibration.kind
    for key in ("coefficients", "architectures", "devices", "versions"):
        if key in content:
            content[key] = _rounded(content[key])
    measured = content.pop("measured", [])
    text = yaml.safe_dump(content, sort_keys=False, width=110, allow_unicode=True)
    if measured:
        lines = (yaml.safe_dump(entry, sort_keys=False, default_flow_style=True, width=1000) for entry in measured)
        text += "measured:\n" + "".join(f"- {line}" for line in lines)
    with whole_file(path) as partial:
        partial.write_text(comment + text, encoding="utf-8")


def _rounded(value: object) -> object:
    """Return numbers, at any depth, with four significant digits."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
