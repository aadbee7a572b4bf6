"""Independent simulations as Ray tasks, each sized by what its run needs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import ray

from actors.actor_creation import cluster_cpus
from actors.connection import ray_cluster
from actors.shared_objects import naming_packages, of_this_node
from actors.study_files import FileStore, SentFiles, with_own_files
from actors.task_group import TaskGroup
from cluster_sim.interruption import INTERRUPTION
from cluster_sim.kernel.kernels import UnfitKernelError
from cluster_sim.simulation.task_needs import TaskNeeds, task_needs

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

_UNKNOWN_BYTES: Final = 1 << 60
TASKS_PER_CPU: Final = 2
"""Tasks submitted ahead for every CPU: enough to keep it busy, few enough that a stopped sweep loses little."""


class RayTaskPool:
    """Runs tasks on the cluster that this process is connected to: one CPU each and the memory of its run, or a
    placement group for a run that several actors share.

    The function and its argument travel by pickle, so their packages must be installed on every node; files that the
    argument names travel with it.  A task whose process or machine dies is tried again twice; an exception that it
    raises itself is its result.
    """

    def __init__(self, needs: Callable[[Any], TaskNeeds] = task_needs) -> None:
        self._remote: Any = ray.remote(num_cpus=1, max_retries=2)(_guarded)
        self._needs = needs
        self._files = FileStore()
        self._running: dict[Any, tuple[int, TaskGroup | None]] = {}
        self._submitted = 0

    @property
    def slots(self) -> int:
        """How many tasks should be submitted at a time: a cluster that grows has more."""
        return TASKS_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))

    def submit(self, function: Callable[[Any], Any], task: Any) -> int:
        """Hand in a call of ``function`` with ``task``; return its number."""
        self._submitted += 1
        needs = self._needs(task).on_nodes_of(_largest_memory())
        group = TaskGroup(needs, cluster_cpus()) if needs.actors > 1 else None
        options = {"memory": needs.memory_bytes} if group is None else group.options()
        packed = ray.cloudpickle.dumps((function, task))
        reference = self._remote.options(**options).remote(packed, self._files.sent(task))
        self._running[reference] = self._submitted, group
        return self._submitted

    def next_ended(self) -> tuple[int, Any]:
        """Wait for a task; return its number and its result, or the exception that it raised.

        Raises KeyboardInterrupt if the command was interrupted, even where a library has caught that.
        """
        INTERRUPTION.check()
        (ended,), _ = ray.wait(list(self._running), num_returns=1)
        number, group = self._running.pop(ended)
        result = _result(ended)
        if group is not None:
            group.remove()
        return number, result


@contextmanager
def ray_task_pool(address: str | None) -> Iterator[RayTaskPool]:
    """Yield a pool on the cluster at ``address``, or on a local one that is stopped afterwards."""
    with ray_cluster(address):
        yield RayTaskPool()


def run_tasks(
    function: Callable[[TaskT], ResultT],
    tasks: list[TaskT],
    address: str | None,
    on_start: Callable[[int], None] = lambda _: None,
) -> Iterator[tuple[int, ResultT | Exception]]:
    """Run ``function`` over ``tasks`` on a Ray cluster; yield (position, result or error) as they end.

    ``on_start`` is called with the position of each as it is handed in.
    """
    if not tasks:
        return
    with ray_task_pool(address) as pool:
        limit = pool.slots
        waiting = iter(enumerate(tasks))
        positions: dict[int, int] = {}
        while True:
            while len(positions) < limit and (following := next(waiting, None)) is not None:
                position, task = following
                positions[pool.submit(function, task)] = position
                on_start(position)
            if not positions:
                return
            number, result = pool.next_ended()
            yield positions.pop(number), result


def _largest_memory() -> int:
    """Return the memory that the largest node offers to tasks; without limit while none is there that runs any."""
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return int(max((offer.get("memory", 0) for offer in resources if offer.get("CPU")), default=_UNKNOWN_BYTES))


def _guarded(packed: bytes, files: SentFiles) -> Any:
    """Return the result of a packed call or its exception, so that Ray does not wrap the latter in its own."""
    try:
        with naming_packages():
            function, task = ray.cloudpickle.loads(packed)
        return function(with_own_files(task, files))
    except UnfitKernelError as error:
        return of_this_node(error)
    except Exception as error:  # noqa: BLE001 - whatever a run raises becomes a row of the sweep
        return error


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        return error
