"""Orderings of waiting requests: the axis, its registry, and the interface of every ordering.

An ordering gives a request a key when it is queued; within a flow the smallest goes first, equal keys in the order of
queueing.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from cluster_sim.engine.instant import NEVER
from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry
from cluster_sim.workload.request import Request

ORDERINGS: Final = Registry[type["FlowOrdering"]](
    "flow ordering",
    "cluster_sim.routing.flow_control.orderings",
    "cluster_sim.flow_orderings",
    default="fcfs",
    chooser="ordering",
)
"""Orderings, each made from its options."""

LAST: Final = NEVER
"""The key of a request without a deadline."""

if TYPE_CHECKING:
    OrderingBlock = ConfigModel
else:
    OrderingBlock = ORDERINGS.annotation()


class FlowOrdering(ABC):
    """Orders the requests of a flow."""

    def __init__(self, options: ConfigModel) -> None:
        """``options`` are the part's own."""

    @abstractmethod
    def key(self, request: Request, queued_ns: int, expires_ns: int) -> int:
        """Return the place of a request that is queued at ``queued_ns`` and dropped at ``expires_ns`` (NEVER: never).

        The smallest key goes first.
        """


def build_ordering(options: ConfigModel) -> FlowOrdering:
    """Build the ordering that a study's block chooses."""
    return ORDERINGS.chosen_by(options).part(options)
