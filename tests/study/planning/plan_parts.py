"""Parts of plans for tests: evidence made by hand, a pool that runs nothing, and a small study."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np

from cluster_sim.config.schema.study import Study
from cluster_sim.metrics.objectives import Slo
from cluster_sim.study.limited_figures import load_limits
from cluster_sim.study.planning.evidence import FleetEvidence
from cluster_sim.study.planning.fleet_choice import Fleet, Layout
from cluster_sim.study.planning.single_run import RunTask
from cluster_sim.study.replications import Replication

LIMIT_S = 0.1
LIMITS = load_limits(Slo(tpot_p99_s=LIMIT_S))
LAYOUT = Layout("h100-sxm", 4)


def small_study(**changes: Any) -> Study:
    """Return a study of 8B on an H100 with a plan block, as small as a percentile allows."""
    base = Study.from_dict(
        {
            "name": "small",
            "workload": {
                "kind": "synthetic",
                "count": 400,
                "arrivals": {"kind": "poisson", "request_rate": 40},
                "lengths": {
                    "prompt": {"kind": "lognormal", "mean": 800, "std": 300, "max": 3000},
                    "output": {"kind": "lognormal", "mean": 60, "std": 30, "max": 200},
                },
            },
            "fleet": {"pools": [{"model": "llama-3-8b", "device": "h100-sxm"}]},
            "predictor": {"kind": "roofline"},
            "slo": {"ttft_p99_s": 0.5, "tpot_p99_s": 0.02},
            "plan": {
                "devices": ["h100-sxm"],
                "tensor_parallel": [1, 2],
                "pipeline_parallel": [1],
                "replications": 2,
                "disaggregation": False,
            },
        }
    )
    return base.with_changes({key.replace("__", "."): value for key, value in changes.items()})


def replication(
    value_s: float,
    number: int = 0,
    *,
    spread: float = 0.0,
    lost: int = 0,
    percent: float | None = None,
    **figures: float,
) -> Replication:
    """Return a run of 1,000 requests whose times per token lie around ``value_s``, evenly over ``spread`` of it."""
    values = value_s * (1 + spread * np.linspace(-1, 1, 1000))
    values[: lost or 0] = np.inf
    known = dict(figures)
    if percent is not None:
        known["predictor_coverage.error_band_percent.tpot_p99"] = percent
    return Replication(number, 1000, {"tpot_s": values}, {"shed": lost} if lost else {}, 30.0, np.ones(10), known)


def evidence(size: int, *values_s: float, replications: int = 3, **rest: Any) -> FleetEvidence:
    """Return what is known of a fleet of ``size`` from one run for each value."""
    found = FleetEvidence(Fleet(LAYOUT, (size,)), LIMITS, replications)
    found.runs.update({number: replication(value, number, **rest) for number, value in enumerate(values_s)})
    return found


class MadeUpPool:
    """A pool whose runs are answered at once by a function of (study, number)."""

    slots = 2

    def __init__(self, answer: Callable[[Study, int], Replication | Exception], *, first: bool = True) -> None:
        self._answer = answer
        self._ends = 0 if first else -1
        self._running: list[tuple[int, RunTask]] = []
        self.submitted = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.clear()

    def submit(self, _function: Any, task: RunTask) -> int:
        self.submitted += 1
        self._running.append((self.submitted, task))
        return self.submitted

    def next_ended(self) -> tuple[int, Replication | Exception]:
        number, task = self._running.pop(self._ends)
        return number, self._answer(task.study, task.number)
