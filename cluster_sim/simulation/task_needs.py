"""Needs of a run that is one task of many on a cluster: memory, and actors if one process is not to carry it."""

from typing import Any, Final, NamedTuple

from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.resources import BASE_BYTES, memory_of

LEAST_ACTORS: Final = 2
"""Fewer are a run in one process."""


class TaskNeeds(NamedTuple):
    """What one task needs."""

    memory_bytes: int = BASE_BYTES
    actors: int = 1
    """Actors that share the run; 1 is a run in the task's own process."""
    most_actors: int = 1
    """How many it can be spread over at most."""

    def on_nodes_of(self, memory_bytes: int) -> "TaskNeeds":
        """Return the needs on a cluster whose largest node offers so much memory: a run that is larger is spread.

        One that cannot be spread asks for all that there is: the need is an estimate.
        """
        if memory_bytes <= 0:
            return self._replace(memory_bytes=0)
        actors = self.actors
        if self.memory_bytes > memory_bytes and self.most_actors >= LEAST_ACTORS:
            variable = max(0, self.memory_bytes - BASE_BYTES)
            room = max(memory_bytes - BASE_BYTES, 1)
            actors = min(self.most_actors, max(actors, LEAST_ACTORS, -(-variable // room)))
        share = self.memory_bytes if actors < LEAST_ACTORS else BASE_BYTES + (self.memory_bytes - BASE_BYTES) // actors
        return self._replace(memory_bytes=min(share, memory_bytes), actors=actors)


def task_needs(task: Any) -> TaskNeeds:
    """Return what a task needs that is a study, or has one; any other task is a small one."""
    study = task if isinstance(task, Study) else getattr(task, "study", None)
    if not isinstance(study, Study):
        return TaskNeeds()
    replicas = _most_replicas(study)
    can_spread = task is study or getattr(task, "has_summary", False)
    if not can_spread:
        return TaskNeeds(memory_of(replicas))
    asked = study.run.actors or 1 if study.run.executor == "ray" else 1
    return TaskNeeds(memory_of(replicas), min(asked, replicas), replicas)


def _most_replicas(study: Study) -> int:
    """Return how many replicas a run can come to have, by its pools and the bounds of its autoscaler."""
    scaler = study.autoscaler
    total = 0
    for pool in study.fleet.pools:
        is_scaled = scaler is not None and (not scaler.pools or pool.name in scaler.pools)
        most = scaler.bounds.get(pool.name, scaler).max_replicas if scaler is not None and is_scaled else 0
        total += max(pool.replicas, most)
    return total
