"""Schedulers, one module each, chosen by ``engine.kind``.

Importing the package imports every module in it, and each registers its scheduler: a new one is a file here.
"""

from importlib import import_module
from pkgutil import iter_modules

from cluster_sim.serving.schedulers.base import SCHEDULERS, Scheduler

for _module in sorted(each.name for each in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")

__all__ = ["SCHEDULERS", "Scheduler"]
