"""Fairness between the flows of one priority: the axis, its registry, and the interface of every policy."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry

FAIRNESS: Final = Registry[type["Fairness"]](
    "fairness policy",
    "cluster_sim.routing.flow_control.fairness",
    "cluster_sim.flow_fairness",
    default="round_robin",
    chooser="fairness",
)
"""Policies, each made from its options; every priority has one of its own."""

if TYPE_CHECKING:
    FairnessBlock = ConfigModel
else:
    FairnessBlock = FAIRNESS.annotation()

Head = tuple[int, int]
"""(key, number) of the first request of a flow; heads of different flows are never equal."""


class Fairness(ABC):
    """Chooses among the flows of one priority that have requests waiting."""

    def __init__(self, options: ConfigModel) -> None:
        """``options`` are the part's own."""

    @abstractmethod
    def choose(self, heads: Mapping[str, Head]) -> str:
        """Return the flow whose first request goes next, out of at least one."""


def build_fairness(options: ConfigModel) -> Fairness:
    """Build the policy that a study's block chooses, for one priority."""
    return FAIRNESS.chosen_by(options).part(options)
