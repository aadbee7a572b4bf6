"""The one place where the model's side calls the actors' side; importing it does not import Ray."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from cluster_sim.hardware.predictors.base import Predictor
from cluster_sim.simulation.inline import RunOutcome, SeriesSink
from cluster_sim.simulation.plan import Plan
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.simulation.view import ProgressSink

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


def ray_tasks(
    address: str | None,
) -> Callable[[Callable[[TaskT], ResultT], list[TaskT]], Iterator[tuple[int, ResultT | Exception]]]:
    """Return a function that runs independent simulations as Ray tasks on the cluster at ``address``."""

    def run(function: Callable[[TaskT], ResultT], tasks: list[TaskT]) -> Iterator[tuple[int, ResultT | Exception]]:
        from actors.environment import prepare_ray

        prepare_ray(address)
        from actors.sweep_tasks import run_tasks

        return run_tasks(function, tasks, address)

    return run


def run_on_ray(
    plan: Plan,
    predictors: list[Predictor],
    options: RunOptions,
    requests_path: Path | None,
    series: SeriesSink,
    progress: ProgressSink,
    labels: dict[str, str],
) -> tuple[RunOutcome, dict[str, Any], float]:
    """Run a plan on Ray actors; return what it leaves, its placement for the manifest, and its wall seconds without the
    start of Ray and the actors.

    Raises InputError where no cluster answers at ``options.address``, UnfinishedError where the run cannot go on.
    """
    from actors.environment import prepare_ray

    prepare_ray(options.address)
    from actors import launcher

    return launcher.run_on_ray(
        plan,
        predictors,
        address=options.address,
        requests_path=requests_path,
        series=series,
        progress=progress,
        labels=labels,
        metrics_port=options.metrics_port,
        speedup=options.speedup,
    )
