"""Comparison of branches with the run that goes on unchanged: request by request, from the time of the fork on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from cluster_sim.metrics.student_t import CONFIDENCE
from cluster_sim.simulation.checkpoint import Checkpoint
from cluster_sim.study.comparison import Difference, RunFigures, compare_runs, plain_difference
from cluster_sim.study.comparison_sides import read_run
from cluster_sim.study.forking import BranchResult

_ARRIVAL: Final = 0
"""Column of ``RunFigures.requests``."""


@dataclass(frozen=True, slots=True)
class ComparedBranch:
    """A branch and how its requests differ from the same ones of the unchanged run."""

    result: BranchResult
    differences: list[Difference]
    """The unchanged run first; of the requests that arrive at the time of the fork or later."""


@dataclass(frozen=True, slots=True)
class ForkComparison:
    """What a fork shows."""

    checkpoint: Checkpoint
    unchanged: BranchResult
    branches: list[ComparedBranch]
    requests: int
    """Requests that are compared."""


def compare_branches(
    checkpoint: Checkpoint, results: Sequence[BranchResult], confidence: float = CONFIDENCE
) -> ForkComparison:
    """Compare every branch but the first with the first, which goes on unchanged."""
    unchanged, *others = results
    base = _later(read_run(unchanged.directory), checkpoint.at_ns)
    branches = [
        ComparedBranch(result, compare_runs(base, _later(read_run(result.directory), checkpoint.at_ns), confidence))
        for result in others
    ]
    return ForkComparison(checkpoint, unchanged, branches, base.window.stop - base.window.start)


def _later(run: RunFigures, at_ns: int) -> RunFigures:
    """Return the figures of the requests that arrive at ``at_ns`` or later; figures of the whole run are left out."""
    first = int(np.searchsorted(run.requests[:, _ARRIVAL], at_ns))
    window = slice(max(first, run.window.start), max(first, run.window.stop))
    return replace(run, window=window, scalars={})


def plain_fork(fork: ForkComparison) -> dict[str, Any]:
    """Return the comparison as plain data, fit for JSON."""
    return {
        "checkpoint": str(fork.checkpoint.directory),
        "at_s": fork.checkpoint.at_s,
        "compared_requests": fork.requests,
        "branches": [
            _plain(fork.unchanged, []),
            *(_plain(compared.result, compared.differences) for compared in fork.branches),
        ],
    }


def _plain(result: BranchResult, differences: list[Difference]) -> dict[str, Any]:
    return {
        "name": result.branch.name,
        "set": dict(result.branch.values),
        "directory": str(result.directory),
        "digest": result.digest,
        "differences": [plain_difference(difference) for difference in differences],
    }
