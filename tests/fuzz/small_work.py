"""Searches and sweeps of a fuzzed command: in its own process, with little effort."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import ModuleType
from typing import Any, Final

from cluster_sim.simulation import launcher
from cluster_sim.simulation.launcher import ResultT, TaskT
from cluster_sim.simulation.task_pool import InlinePool
from cluster_sim.study import capacity, rate_judgement
from cluster_sim.study.planning import plan_run, several_models
from cluster_sim.study.rate_judgement import Effort


def make_work_small() -> None:
    """Let the command of this process, which ends with it, start neither Ray nor processes, and make short runs."""
    for module, changes in _CHANGES:
        for name, value in changes.items():
            assert hasattr(module, name)
            setattr(module, name, value)


def tasks_here(function: Callable[[TaskT], ResultT], tasks: list[TaskT]) -> Iterator[tuple[int, ResultT | Exception]]:
    for position, task in enumerate(tasks):
        try:
            yield position, function(task)
        except Exception as error:  # noqa: BLE001 - as tasks elsewhere
            yield position, error


_CHANGES: Final[tuple[tuple[ModuleType, dict[str, Any]], ...]] = (
    (launcher, {"ray_pool": lambda _: nullcontext(InlinePool()), "ray_tasks": lambda *_: tasks_here}),
    (plan_run, {"ProcessPool": lambda: nullcontext(InlinePool())}),
    (several_models, {"ProcessPool": lambda: nullcontext(InlinePool())}),
    (capacity, {"SEARCH": Effort(60, 1), "SURE": Effort(60, 1), "BURST_REQUESTS": 30}),
    (rate_judgement, {"FIRST_REQUESTS": 60, "MOST_REQUESTS": 120}),
)
