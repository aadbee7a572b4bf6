"""``checkpoint`` and ``fork``: a run warmed up once that goes on in several ways, from Python."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster_sim.api.progress_view import view_of
from cluster_sim.api.result import Result
from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.checkpoint import Checkpoint, read_checkpoint, take_checkpoint
from cluster_sim.simulation.process_pool import ProcessPool
from cluster_sim.simulation.run_options import ExecutorName
from cluster_sim.simulation.task_pool import InlinePool
from cluster_sim.study.fork_comparison import ForkComparison, compare_branches, plain_fork
from cluster_sim.study.forking import ForkOptions, branches_of, run_branches

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Fork:
    """The branches of a checkpoint."""

    _comparison: ForkComparison

    @property
    def branches(self) -> dict[str, Result]:
        """The results by name; the first, ``unchanged``, goes on as the run would have."""
        results = [self._comparison.unchanged, *(compared.result for compared in self._comparison.branches)]
        return {
            result.branch.name: Result(result.directory, dict(result.summary), result.digest, None)
            for result in results
        }

    @cached_property
    def differences(self) -> "DataFrame":
        """One row per branch and figure: the value unchanged and in the branch, the difference with its interval."""
        from pandas import DataFrame

        branches = plain_fork(self._comparison)["branches"]
        return DataFrame([{"branch": branch["name"], **row} for branch in branches for row in branch["differences"]])

    def __repr__(self) -> str:
        """Return how many branches there are, and from when on."""
        names = ", ".join(self.branches)
        return f"<Fork at {self._comparison.checkpoint.at_s:g} s: {names}>"

    def _repr_html_(self) -> str:
        """Return the differences for a notebook."""
        html: str = self.differences._repr_html_()
        return html


def checkpoint(study: Study, at_s: float, out: str | Path | None = None, *, progress: bool | None = None) -> Checkpoint:
    """Run a study up to ``at_s`` simulated seconds and keep its state in ``out``.

    Raises InputError if the study or ``out`` is wrong, or the run ends before.
    """
    return take_checkpoint(study, at_s, None if out is None else Path(out), view_of(progress))


def fork(
    start: Checkpoint | str | Path,
    out: str | Path,
    changes: Mapping[str, Any] | None = None,
    vary: Mapping[str, Sequence[Any]] | None = None,
    *,
    executor: ExecutorName = "inline",
    processes: int = 1,
) -> Fork:
    """Go on from a checkpoint unchanged, and once for every combination of the values of ``vary`` with ``changes``.

    Keys are dotted, as in ``run.changes``.  Every branch is a run directory below ``out``.  More than one of
    ``processes`` runs branches at a time, which a script must do below ``if __name__ == "__main__":``.

    Raises InputError for keys that cannot change during a run, and a checkpoint that is damaged or of another version.
    """
    taken = start if isinstance(start, Checkpoint) else read_checkpoint(Path(start))
    branches = branches_of(taken, changes or {}, vary or {})
    options = ForkOptions(Path(out), executor)
    if processes == 1:
        return Fork(compare_branches(taken, run_branches(taken, branches, options, InlinePool())))
    with ProcessPool(processes) as pool:
        return Fork(compare_branches(taken, run_branches(taken, branches, options, pool)))
