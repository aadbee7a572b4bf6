"""The one interface of every routing policy, and their registry.

A policy says what it observes; that alone decides how far the router may run ahead of the replicas (see
``engine.coordinator``).  It answers with a position among the candidates it was built with.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cluster_sim.engine.observation import NOTHING, Observation
from cluster_sim.factory_registry import Registry
from cluster_sim.routing.options import Router
from cluster_sim.serving.messages import Sample
from cluster_sim.workload.request import Request


@dataclass(frozen=True, slots=True)
class Candidates:
    """The replicas a policy chooses among, and its seed."""

    count: int
    seed: int
    forward_ns: Sequence[int]
    """Link latency to each candidate."""


class Policy(ABC):
    """Chooses a replica for each request, in the order of their global schedules."""

    observation: Observation = NOTHING

    @abstractmethod
    def choose(self, request: Request, now_ns: int) -> int:
        """Return the position of the chosen candidate and note the dispatch."""

    def on_end(self, position: int) -> None:
        """Note that a request dispatched to ``position`` has ended; called only where responses are observed."""

    def on_sample(self, position: int, sample: Sample) -> None:
        """Note a sample that has become visible; called only where telemetry is observed."""


POLICIES: Final = Registry[Router, Candidates, Policy]("router.policy", "policy", lambda router: router.policy)
"""Filled by the modules of this package at import."""
