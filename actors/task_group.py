"""Placement group of a run that is one task of many: a bundle for the task and its router, one for each of its actors.

All of it is placed at once or not at all, so runs that share a cluster never wait for each other's actors.
"""

from typing import Any, Final

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.placement import cpu_share
from cluster_sim.simulation.task_needs import TaskNeeds

_TASK: Final = 0
"""Bundle of the task."""


class TaskGroup:
    """The placement group of one task, as whoever submits the task holds it."""

    def __init__(self, needs: TaskNeeds, node_cpus: list[float]) -> None:
        cpus = cpu_share(needs.actors + 1, node_cpus) or 1.0  # No node is there yet that offers any.
        bundle = {"CPU": cpus, **({"memory": needs.memory_bytes} if needs.memory_bytes else {})}
        self._cpus = cpus
        self._group = placement_group([{"CPU": cpus}, *([bundle] * needs.actors)], strategy="PACK")

    def options(self) -> dict[str, Any]:
        """Return the options with which the task is submitted: it starts when the whole group is placed."""
        strategy = PlacementGroupSchedulingStrategy(
            self._group, placement_group_bundle_index=_TASK, placement_group_capture_child_tasks=True
        )
        return {"num_cpus": self._cpus, "scheduling_strategy": strategy}

    def remove(self) -> None:
        """Give the group's room back."""
        remove_placement_group(self._group)


def own_group() -> PlacementGroup | None:
    """Return the group in which this process is a task, if it is one."""
    return ray.util.get_current_placement_group() if ray.is_initialized() else None


def group_actors(group: PlacementGroup) -> int:
    """Return how many actors a group has room for."""
    return len(group.bundle_specs) - 1


def actor_options(group: PlacementGroup, number: int, share: int) -> dict[str, Any]:
    """Return the options of an actor of the run: it has one of ``share`` equal parts of the CPUs of bundle ``number``,
    counted from 0.
    """
    bundle = number + 1
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle)
    return {"num_cpus": group.bundle_specs[bundle]["CPU"] / share, "scheduling_strategy": strategy}
