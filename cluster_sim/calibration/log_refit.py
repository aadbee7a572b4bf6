"""Refit of a few coefficients to the log of one server, and the file of the new calibration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from cluster_sim.calibration.benchmark import Server
from cluster_sim.calibration.case import Case, FloatArray, Requests
from cluster_sim.calibration.case_run import resolve_case
from cluster_sim.calibration.engine_log import read_engine_log
from cluster_sim.calibration.fit import Parameter
from cluster_sim.calibration.refit import (
    band_line,
    faults_of_fit,
    refuse_faults,
    starting_point,
    use_line,
    write_calibration,
)
from cluster_sim.calibration.step_fit import CONTEXT, StepFit, has_one_load
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.calibration_file import Calibration
from cluster_sim.hardware.predictors.coefficients import at_most
from cluster_sim.hardware.predictors.kinds.physical import PhysicalPredictor
from cluster_sim.output_target import FITTED_PROFILE

LOG_COEFFICIENTS: Final = ("step_us", "gemm_memory_ratio", "kv_memory_ratio")
"""Those that steps determine; what a request costs the API server is in no log of throughput."""
WIDTH_LOG: Final = 0.2
"""Width of the priors, in the logarithm: the step of an interval is known less well than that of a whole run."""
NARROW_LOG: Final = 0.1
"""Width of the priors where the context is not known, which explains as much as the coefficients do."""
NOT_IN_A_LOG: Final = ("frontend_us", "frontend_us_per_token")


def refit_to_log(
    files: Sequence[Path],
    server: Server,
    base: str,
    names: Sequence[str] | None,
    out: Path,
    command: str,
    *,
    context_tokens: float = 0.0,
    is_forced: bool = False,
) -> list[str]:
    """Refit ``names`` (None: those that steps determine) to a log, write the calibration to ``out`` and return lines
    that say what came of it.  ``context_tokens`` is the mean context per running request, 0 if nobody knows.

    Raises InputError for a wrong log or several files, for coefficients that a log says nothing of, and, unless
    ``is_forced``, for a fit that no hardware can have or that misses the log; then nothing is written.
    """
    if len(files) > 1:
        raise InputError(f"{files[1]}: a log is calibrated from alone; give one file")
    log = read_engine_log(files[0])
    chosen = tuple(names or LOG_COEFFICIENTS)
    silent = [name for name in chosen if name in NOT_IN_A_LOG]
    if silent:
        raise InputError(f"--coefficient: {', '.join(silent)}: a log of throughput says nothing of first tokens")
    notes = list(log.notes)
    width = WIDTH_LOG
    if log.has_usage and context_tokens:
        notes.append("--context-tokens is not needed: the KV cache's usage is in the log")
    elif not log.has_usage and not context_tokens:
        chosen, width = tuple(name for name in chosen if name != "kv_memory_ratio"), NARROW_LOG
        notes.append(
            "the KV cache's usage is not in the log, nor --context-tokens given: the mean context is fitted too, "
            "kv_memory_ratio stays, and the others are held near the base profile"
        )
    resolved = resolve_case(_case(files[0], server))
    hardware, limits = resolved.hardware, resolved.limits
    values, blank = starting_point(files, hardware, base, chosen, out, command)
    if log.version is not None and not log.version.startswith(str(hardware.engine.version)):
        notes.append(f"the log says vLLM {log.version}, and the fit is for {hardware.engine.version}")

    def calibration(fitted: dict[str, float]) -> Calibration:
        own = {name: at_most(name, value) for name, value in fitted.items() if name != CONTEXT}
        return blank.model_copy(update={"coefficients": values | own})

    fit = StepFit(
        log,
        [Parameter(name, values[name], width) for name in chosen],
        lambda own: PhysicalPredictor(
            calibration(own).resolve(hardware.device, hardware.engine.version), hardware, is_measured=True
        ),
        log.cache_tokens or limits.kv_blocks * limits.block_size,
        limits.max_num_batched_tokens,
        context_tokens,
    )
    position = fit.fit()
    left_out = fit.errors_left_out(position)
    errors = {"step": float(np.mean(left_out))}
    found = fit.values(position)
    fitted = calibration(found)
    provenance = fitted.provenance.model_copy(update={"cross_validation": {"step": round(errors["step"], 2)}})
    missed = {"step": round(errors["step"], 2)}
    fitted = fitted.model_copy(update={"provenance": provenance, "missed_percent": missed})
    faults = faults_of_fit(chosen, values, fitted.coefficients, errors)
    refuse_faults(faults, notes, is_forced=is_forced)
    write_calibration(fitted, out, f"{FITTED_PROFILE.begins.decode()}\n")
    lines = [f"{log.place}: {note}" for note in notes] + faults
    lines += [f"{name}: {values[name]:.4g} -> {fitted.coefficients[name]:.4g}" for name in chosen]
    if CONTEXT in found:
        lines.append(f"mean context: {found[CONTEXT]:.0f} tokens; if that is far off, the other figures are too")
    lines += _residual_lines(fit, position)
    lines.append(f"error (each load left out): step {errors['step']:.1f} %")
    if has_one_load(fit.groups):
        lines.append(_one_load(fit))
    lines += ["first tokens are not in a log: what a request costs the API server stays as in the base profile"]
    return [*lines, band_line(fitted, hardware), use_line(out)]


def _residual_lines(fit: StepFit, position: FloatArray) -> list[str]:
    """Return one line a load: how long its steps took, and by how much the fit misses them."""
    residuals = np.expm1(fit.residuals(position)) * 100.0
    return [
        f"running {group.fewest:.0f} to {group.most:.0f} ({len(group.intervals)} intervals): step {group.step_ms:.2f} "
        f"ms, simulated {residual:+.1f} %"
        for group, residual in zip(fit.groups, residuals.tolist(), strict=True)
    ]


def _one_load(fit: StepFit) -> str:
    return (
        f"one load was logged, {fit.groups[0].fewest:.0f} to {fit.groups[-1].most:.0f} requests running: what a step, "
        "a sequence and a cached token cost cannot be told apart; other loads may be missed by more than the band "
        "says, so log a second one"
    )


def _case(path: Path, server: Server) -> Case:
    """Return a case that names the server alone."""
    nothing = np.zeros(0, np.int64)
    return Case(
        dataset="log",
        run=path.name,
        model=server.model,
        device=server.device,
        tensor_parallel=server.tensor_parallel,
        workload=path.name,
        requests=Requests(np.zeros(0), nothing, nothing, nothing),
        engine={"kind": "vllm_v1", **server.engine},
    )
