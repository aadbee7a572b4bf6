"""Measured window of a run: its rule by the study, and a second look at the rows that lie in it.

Design.  The window is known when the run has ended, so the rows are read once more from the table of requests, a row
group at a time, and only where something is left out: memory stays bounded, and a run measured as a whole costs
nothing.
"""

from pathlib import Path

from cluster_sim.config.schema.measurement import Phase
from cluster_sim.config.schema.study import Study
from cluster_sim.metrics.peaks import PEAK_FIELDS, SecondPeaks
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.metrics.run_records import RunRecords
from cluster_sim.metrics.window import (
    AUTO,
    Measured,
    PhaseRule,
    WindowRule,
    WindowTotals,
    find_window,
)
from cluster_sim.output.request_rows import read_arrivals, read_blocks
from cluster_sim.simulation.run_recorder import new_totals
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.kind_interface import kind_of
from cluster_sim.workload.kinds.closed_loop import ClosedLoopWorkload
from cluster_sim.workload.kinds.synthetic import SyntheticWorkload


def window_rule(study: Study) -> WindowRule:
    """Return the rule of a study's measured window, defaults resolved.

    Synthetic and closed-loop workloads of a fixed count fill an empty fleet and let it run dry, which nobody asked for:
    there both ends are found.  A load that changes is asked for as it is: a search for the warm-up would leave out its
    bursts.  Traces and runs with an end are taken as they are.
    """
    workload, run = study.workload, study.run
    is_counted = isinstance(workload, SyntheticWorkload | ClosedLoopWorkload) and workload.duration_s is None
    is_found = is_counted and run.end_s is None and kind_of(workload).is_stationary
    default = PhaseRule(AUTO) if is_found else PhaseRule()
    warmup = default if run.warmup is None else _rule(run.warmup)
    if run.measure is not None:
        return WindowRule(warmup, _rule(run.measure))
    return WindowRule(warmup, PhaseRule(AUTO) if warmup.kind == AUTO else PhaseRule())


def measure(rule: WindowRule, metadata: RunMetadata, records: RunRecords, requests_path: Path) -> Measured | None:
    """Return what the figures of a finished run cover; None is the whole run."""
    if rule.is_whole_run:
        return None
    window = find_window(rule, records.totals, records.end_ns, lambda: read_arrivals(requests_path))
    found = WindowTotals(window, new_totals(metadata))
    for block in read_blocks(requests_path, records.totals.pools):
        found.add(block)
    return found.measured(rule)


def peaks_of(totals: RequestTotals, requests_path: Path) -> SecondPeaks:
    """Return the peaks of a finished run."""
    peaks = SecondPeaks(totals.first_finished_arrival_ns, totals.last_completion_ns)
    for block in read_blocks(requests_path, totals.pools, PEAK_FIELDS):
        peaks.add(block)
    return peaks


def _rule(phase: Phase) -> PhaseRule:
    return PhaseRule(phase.kind, round((phase.duration_s or 0.0) * NS_PER_S), phase.requests or 0)
