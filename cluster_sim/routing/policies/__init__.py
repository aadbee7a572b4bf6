"""Routing policies, one module a family, chosen by ``router.policy``.

Importing the package imports every module in it, and each registers its policies: a new one is a file here.
"""

from importlib import import_module
from pkgutil import iter_modules

from cluster_sim.routing.policies.base import POLICIES, Candidates, Policy

for _module in sorted(each.name for each in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")

__all__ = ["POLICIES", "Candidates", "Policy"]
