"""``simulate``: one run of a study from Python."""

from pathlib import Path
from tempfile import TemporaryDirectory

from cluster_sim.api.progress_view import view_of
from cluster_sim.api.result import Result
from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import ExecutorName, RunOptions


def simulate(
    study: Study,
    out: str | Path | None = None,
    *,
    executor: ExecutorName | None = None,
    address: str | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> Result:
    """Run a study and return its result.

    The files of the run are written to ``out``; without it they are kept as long as the result is.  ``executor``,
    ``address`` and ``resume`` are those of the command ``run``.  ``progress`` shows a bar: None does so in a notebook
    and on a terminal.

    Raises InputError if the study or ``out`` is wrong, UnfinishedError if the run cannot go on.
    """
    folder = TemporaryDirectory(prefix="cluster-sim-") if out is None else None
    place = Path(out) if out is not None else Path(folder.name if folder else "") / "run"
    options = RunOptions(executor=executor, address=address, out=place, resumes=resume)
    result = run_study(study, options, view_of(progress))
    return Result(result.directory, result.summary, result.digest, folder)
