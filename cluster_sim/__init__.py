"""Predicts how a fleet of LLM serving replicas behaves, without a GPU.

The Python interface is loaded name by name when it is asked for, so that importing the package takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cluster_sim.api.capacity import CapacityTable, capacity
    from cluster_sim.api.compare import ComparisonTable, compare
    from cluster_sim.api.fork import Fork, checkpoint, fork
    from cluster_sim.api.plan import Plan, plan
    from cluster_sim.api.result import Result
    from cluster_sim.api.search import SearchTable, search
    from cluster_sim.api.simulate import simulate
    from cluster_sim.api.sweep import SweepTable, sweep
    from cluster_sim.config.schema.study import Study
    from cluster_sim.errors import InputError, UnfinishedError

__version__ = "0.1.0"

_MODULES: Final = {
    "Study": "cluster_sim.config.schema.study",
    "simulate": "cluster_sim.api.simulate",
    "Result": "cluster_sim.api.result",
    "capacity": "cluster_sim.api.capacity",
    "CapacityTable": "cluster_sim.api.capacity",
    "compare": "cluster_sim.api.compare",
    "ComparisonTable": "cluster_sim.api.compare",
    "checkpoint": "cluster_sim.api.fork",
    "fork": "cluster_sim.api.fork",
    "Fork": "cluster_sim.api.fork",
    "plan": "cluster_sim.api.plan",
    "Plan": "cluster_sim.api.plan",
    "search": "cluster_sim.api.search",
    "SearchTable": "cluster_sim.api.search",
    "sweep": "cluster_sim.api.sweep",
    "SweepTable": "cluster_sim.api.sweep",
    "InputError": "cluster_sim.errors",
    "UnfinishedError": "cluster_sim.errors",
}
"""The module that defines each name."""

__all__ = [
    "CapacityTable",
    "ComparisonTable",
    "Fork",
    "InputError",
    "Plan",
    "Result",
    "SearchTable",
    "Study",
    "SweepTable",
    "UnfinishedError",
    "capacity",
    "checkpoint",
    "compare",
    "fork",
    "plan",
    "search",
    "simulate",
    "sweep",
]


def __getattr__(name: str) -> Any:
    """Load a name of the interface at its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """Return the names of the interface as well as those that are loaded."""
    return sorted({*globals(), *_MODULES})
