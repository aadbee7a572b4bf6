"""Runs near saturation, simulated with several seeds: there the luck of the arrivals decides how long requests queue.

Only runs whose arrivals were not recorded are drawn anew.  Their figures are medians over the seeds, with the spread
beside them: one unlucky draw of eight may queue for ten times as long as the others, and a mean would be that draw's.
"""

from collections import defaultdict
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from cluster_sim.calibration.case import WHOLE_RUN, Case, Key
from cluster_sim.calibration.case_run import CaseResult, ResolvedCase, run_case
from cluster_sim.calibration.latency_figures import figures
from cluster_sim.hardware.predictors.predictor_interface import Predictor

SEEDS: Final = 8
NEAR_RATIO: Final = 0.7
"""Share of the slots or KV blocks in use from which on the luck of arrivals shows."""


class Seeded(NamedTuple):
    """Figures of a run."""

    figures: dict[Key, float]
    spread: dict[str, float]
    """Standard deviation between seeds in percent of the median, by figure of the whole run; empty with one seed."""
    result: CaseResult
    """Of the first seed."""


def run_seeds(resolved: ResolvedCase, predictor: Predictor) -> Seeded:
    """Simulate a case, and seven more draws of its requests if it sits near saturation and they were not recorded."""
    case = resolved.case
    first = run_case(resolved, predictor, is_watched=case.draw is not None)
    found = simulated_figures(case, first)
    if case.draw is None or first.fullest_ratio < NEAR_RATIO:
        return Seeded(found, {}, first)
    values: dict[Key, list[float]] = defaultdict(list)
    for number in range(SEEDS):
        if number:
            drawn = replace(case, requests=case.draw(number))
            found = simulated_figures(drawn, run_case(replace(resolved, case=drawn), predictor))
        for key, value in found.items():
            values[key].append(value)
    means = {key: float(np.mean(every)) for key, every in values.items()}
    spread = {key[1]: 100.0 * float(np.std(every)) / means[key] for key, every in values.items() if key[0] == WHOLE_RUN}
    return Seeded(means, spread, first)


def stages_of(case: Case) -> tuple[int, ...]:
    """Return the load stages that were measured."""
    return tuple(sorted({stage for stage, _ in case.measured if stage != WHOLE_RUN}))


def simulated_figures(case: Case, result: CaseResult) -> dict[Key, float]:
    """Return the figures of a run that a case's measurements are compared with.

    Failed requests of the measurement are not taken out: that they failed is a measurement.
    """
    requests = case.requests
    return figures(result.ttft_s, result.e2e_s, result.sent_s, requests.output_tokens, requests.stage, stages_of(case))
