"""Placement: the replicas of each actor, and the share of a CPU that it asks for.  It never changes a result."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Final, Literal

from actors.transport import WaitLimits

_GRAIN: Final = 10_000
"""Ray counts resources in ten-thousandths."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The actors of one run."""

    groups: list[list[int]]
    """Replicas (indices from 0) of each group actor."""
    stages: int = 0
    """Pipeline stages that are actors of their own, per group; 0 if they are fused."""
    port_range: tuple[int, int] = (20000, 29999)
    limits: WaitLimits = field(default_factory=WaitLimits)


def place(
    replicas: int,
    cpus: float,
    replicas_per_actor: int | Literal["auto"] = "auto",
    actors: int | None = None,
    seed: int | None = None,
) -> list[list[int]]:
    """Return the replicas (indices from 0) of each actor.

    ``actors`` fixes their number; else ``replicas_per_actor`` does, ``auto`` being one each while actors fit the CPUs
    and as many actors as CPUs beyond.  Replicas are dealt out in turn, so that pools spread evenly; ``seed`` shuffles
    them first, each list staying in order.
    """
    if actors is None:
        actors = max(1, floor(cpus)) if replicas_per_actor == "auto" else -(-replicas // replicas_per_actor)
    actors = max(1, min(actors, replicas))
    order = list(range(replicas))
    if seed is not None:
        random.Random(seed).shuffle(order)
    return [sorted(order[actor::actors]) for actor in range(actors)]


def cpu_share(actors: int, node_cpus: Sequence[float]) -> float:
    """Return the CPUs each actor asks for so that all fit: 1, or the largest 1/k that the nodes have room for.

    Actors share cores well: each waits most of the time for the others.
    """
    most = max(node_cpus, default=0.0)
    if most <= 0:
        return 0.0
    parts = 1
    while sum(floor(cpus * parts) for cpus in node_cpus) < actors:
        parts += 1
    return floor(_GRAIN / parts) / _GRAIN
