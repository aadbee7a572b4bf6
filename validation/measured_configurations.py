"""Configurations of measured cases, as a calibration lists what it was measured with."""

from collections.abc import Iterable

from cluster_sim.calibration.case import Case
from cluster_sim.calibration.case_run import resolve_case
from cluster_sim.hardware.predictors.measured_with import MeasuredWith


def measured_configurations(cases: Iterable[Case]) -> tuple[MeasuredWith, ...]:
    """Return the configurations of cases, each once, sorted; raises InputError for a case that the library lacks."""
    found = {MeasuredWith.of(resolve_case(case).hardware) for case in cases}
    return tuple(sorted(found, key=lambda entry: tuple(entry.model_dump().values())))
