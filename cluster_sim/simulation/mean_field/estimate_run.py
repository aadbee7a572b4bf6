"""Estimate in place of a run: the study estimated, and its directory with a summary that says so."""

import time
from typing import Any, Final

from cluster_sim import __version__
from cluster_sim.config.loading.canonical import config_hash, resolved_yaml
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.output.run_directory import RESOLVED_FILE, RunDirectory, default_directory
from cluster_sim.shown_values import counted
from cluster_sim.simulation.mean_field.estimate import Estimate, estimate
from cluster_sim.simulation.mean_field.estimate_figures import estimate_summary
from cluster_sim.simulation.run import RunResult
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.simulation.view import RunView

ESTIMATE: Final = "estimate"
NO_DIGEST: Final = ""
"""There are no rows to compare."""


def run_estimate(study: Study, options: RunOptions, view: RunView) -> RunResult:
    """Estimate a study and write its directory; raises InputError for what an estimate does not cover."""
    _check_options(options)
    began_s = time.perf_counter()
    found = estimate(study)
    summary = estimate_summary(found)
    wall_s = time.perf_counter() - began_s
    final = options.out or default_directory(study.name, config_hash(study))
    with RunDirectory(final) as directory:
        directory.write_text(RESOLVED_FILE, resolved_yaml(study))
        path = directory.complete(summary, _manifest(found, wall_s))
    notes = (
        f"{counted(len(found.rows), 'request')} in {wall_s:.2f} s, estimated (run.detail: estimate)",
        f"results in {path}",
    )
    view.finished(summary, notes)
    return RunResult(path, summary, NO_DIGEST)


def _check_options(options: RunOptions) -> None:
    """Raise InputError for options of a run that has events."""
    wanted = {
        "--executor ray": options.executor == "ray",
        "--address": options.address is not None,
        "--min-cpus": options.min_cpus is not None,
        "--metrics-port": options.metrics is not None,
        "--resume": options.resumes,
        "--paranoid": options.is_paranoid,
        "--profile": options.is_profiled,
        "--speedup": options.speedup is not None,
    }
    for name, is_wanted in wanted.items():
        if is_wanted:
            raise InputError(f"{name}: an estimate (run.detail: estimate) simulates no events; leave it out")


def _manifest(found: Estimate, wall_s: float) -> dict[str, Any]:
    study = found.study
    return {
        "version": __version__,
        "name": study.name,
        "seed": study.seed,
        "config_hash": config_hash(study),
        "detail": ESTIMATE,
        "predictors": [
            {
                "pool": one.planned.pool.name,
                "predictor": one.predictor.label,
                "predictor_choice": one.predictor.choice,
                "error_band_case": one.predictor.error_band.case.value,
            }
            for one in found.pools
        ],
        "wall_s": wall_s,
        "digest": NO_DIGEST,
    }
