"""Independent simulations as Ray tasks, one CPU each."""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import ray

from actors.connection import ray_cluster
from actors.shared_objects import naming_packages

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

TASKS_PER_CPU: Final = 2
"""Tasks submitted ahead for every CPU: enough to keep it busy, few enough that a stopped sweep loses little."""


def run_tasks(
    function: Callable[[TaskT], ResultT], tasks: list[TaskT], address: str | None
) -> Iterator[tuple[int, ResultT | Exception]]:
    """Run ``function`` over ``tasks`` on a Ray cluster; yield (position, result or error) in the order of their ends.

    The function and its argument travel by pickle, so their packages must be installed on every node.  A task whose
    machine dies is tried again twice; an exception that it raises itself is its result.
    """
    if not tasks:
        return
    with ray_cluster(address):
        remote: Any = ray.remote(num_cpus=1, max_retries=2)(_guarded)
        limit = TASKS_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting = iter(enumerate(tasks))
        running: dict[Any, int] = {}
        while True:
            while len(running) < limit and (following := next(waiting, None)) is not None:
                position, task = following
                running[remote.remote(ray.cloudpickle.dumps((function, task)))] = position
            if not running:
                return
            (ended,), _ = ray.wait(list(running), num_returns=1)
            yield running.pop(ended), _result(ended)


def _guarded(packed: bytes) -> Any:
    """Return the result of a packed call or its exception, so that Ray does not wrap the latter in its own."""
    try:
        with naming_packages():
            function, task = ray.cloudpickle.loads(packed)
        return function(task)
    except Exception as error:  # noqa: BLE001 - whatever a run raises becomes a row of the sweep
        return error


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        return error
