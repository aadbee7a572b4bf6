"""The one place where the model's side calls the actors' side; importing it does not import Ray."""

from collections.abc import Callable, Iterator
from typing import TypeVar

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


def ray_tasks(
    address: str | None,
) -> Callable[[Callable[[TaskT], ResultT], list[TaskT]], Iterator[tuple[int, ResultT | Exception]]]:
    """Return a function that runs independent simulations as Ray tasks on the cluster at ``address``."""

    def run(function: Callable[[TaskT], ResultT], tasks: list[TaskT]) -> Iterator[tuple[int, ResultT | Exception]]:
        from actors.sweep_tasks import run_tasks

        return run_tasks(function, tasks, address)

    return run
