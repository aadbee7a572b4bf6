"""Measurements that their own figures rule out: listed apart with the reason, never fitted to, scored apart.

Only what contradicts itself is judged, never how far a simulation is off:

- two runs of different workloads with the same figures to the last digit: one of them was copied;
- figures of a load stage that the workload does not have: another workload was run;
- a mean E2E that is not TTFT + (n - 1) TPOT, where the three were published separately: requests also waited elsewhere.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from cluster_sim.calibration.case import WHOLE_RUN, Case, Key

LATENCY_TOLERANCE: Final = 0.05
"""Most by which E2E may differ from TTFT + (n - 1) TPOT: the mean of a product is not the product of the means."""
FEWEST_REQUESTS: Final = 30
"""With fewer requests the means alone may differ by more."""
FEWEST_FIGURES: Final = 3
"""Fewest figures that, all equal, cannot be chance."""


def mark_contradictions(cases: Iterable[Case]) -> list[Case]:
    """Return the cases, those that contradict themselves or one another with the reason."""
    cases = list(cases)
    copies = _copies(cases)
    return [
        replace(case, contradiction=reason)
        if (reason := case.contradiction or copies.get(number, "") or _unknown_stage(case))
        else case
        for number, case in enumerate(cases)
    ]


def latency_contradiction(measured: dict[Key, float], mean_outputs: float, requests: int) -> str:
    """Return why three means that were published separately contradict each other; "" if they do not."""
    ttft, tpot, e2e = (measured[WHOLE_RUN, f"{name}_mean"] for name in ("ttft", "tpot", "e2e"))
    expected = ttft + (mean_outputs - 1) * tpot
    if requests < FEWEST_REQUESTS or abs(e2e / expected - 1) <= LATENCY_TOLERANCE:
        return ""
    return f"E2E is not TTFT + (n - 1) TPOT: {e2e:.2f} s and {expected:.2f} s"


def _copies(cases: Sequence[Case]) -> dict[int, str]:
    """Return the reason for every case whose figures are those of a run of another workload, by position."""
    by_figures: dict[tuple[tuple[Key, float], ...], list[int]] = defaultdict(list)
    for number, case in enumerate(cases):
        figures = tuple(sorted(case.measured.items()))
        if len(figures) >= FEWEST_FIGURES:
            by_figures[figures].append(number)
    found: dict[int, str] = {}
    for numbers in by_figures.values():
        workloads = {cases[number].workload for number in numbers}
        if len(workloads) < 2:
            continue
        for number in numbers:
            other = next(cases[n] for n in numbers if cases[n].workload != cases[number].workload)
            found[number] = f"the figures of a run of another workload: {other.run}, {other.workload}"
    return found


def _unknown_stage(case: Case) -> str:
    """Return the reason for figures of a stage in which the workload has no requests; "" if there are none."""
    known = set(case.requests.stage.tolist())
    unknown = sorted({stage for stage, _ in case.measured} - known - {WHOLE_RUN})
    return f"a load stage that the workload does not have: {unknown[0]}, {case.workload}" if unknown else ""
