"""Bridge to the Ray side: the only module that imports ``actors``, and only when it is called."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Literal, TypeVar

from cluster_sim.config.schema.run import Run
from cluster_sim.simulation.executor import Executor
from cluster_sim.simulation.task_pool import TaskPool

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


def ray_executor(settings: Run, address: str | None, min_cpus: float | None = None) -> Executor:
    """Return the executor that runs on the Ray cluster at ``address``, or on a local one that it starts and stops.

    It waits until the cluster has ``min_cpus`` CPUs.
    """
    from actors.environment import prepare_ray

    prepare_ray(address)
    from actors.ray_executor import RayExecutor

    return RayExecutor(settings, address, min_cpus)


def ray_tasks(
    address: str | None, on_start: Callable[[int], None] = lambda _: None
) -> Callable[[Callable[[TaskT], ResultT], list[TaskT]], Iterator[tuple[int, ResultT | Exception]]]:
    """Return a function that runs independent simulations as Ray tasks on the cluster at ``address``.

    It calls ``on_start`` with the position of each as it is handed in.
    """

    def run(function: Callable[[TaskT], ResultT], tasks: list[TaskT]) -> Iterator[tuple[int, ResultT | Exception]]:
        from actors.environment import prepare_ray

        prepare_ray(address)
        from actors.sweep_tasks import run_tasks

        return run_tasks(function, tasks, address, on_start)

    return run


def task_executor() -> Literal["inline", "ray"]:
    """Return the executor of a run that is one task of many: ``ray`` in a task that has actors, else ``inline``."""
    if "ray" not in sys.modules:
        return "inline"
    from actors.task_group import own_group

    return "inline" if own_group() is None else "ray"


def ray_pool(address: str | None) -> AbstractContextManager[TaskPool]:
    """Return a pool of tasks on the Ray cluster at ``address``, or on a local one that is stopped afterwards."""
    from actors.environment import prepare_ray

    prepare_ray(address)
    from actors.sweep_tasks import ray_task_pool

    return ray_task_pool(address)
