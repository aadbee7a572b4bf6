"""The axis of export targets: its registry, what a target is given, and the loading of packages that are optional.

A target is one file in ``exports/``: a class of options beside a function that takes a finished run to another
program.  Its package is imported inside the function: whoever does not export needs none.
"""

import importlib
from collections.abc import Callable
from typing import Any, Final

from cluster_sim.errors import InputError
from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry
from cluster_sim.report.run_data import RunData


class ExportOptions(ConfigModel):
    """Base of the options of a target."""


Export = Callable[[RunData, Any], str]
"""Takes a run and the target's options; returns where it went, for the user.  Raises InputError if the package is not
installed."""

EXPORTS: Final[Registry[Export]] = Registry("export target", "cluster_sim.report.exports", "cluster_sim.exports")


def optional_module(name: str, extra: str) -> Any:
    """Import a module of an optional package; raise InputError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"{extra}: needs the package of {name.partition('.')[0]}, which cannot be imported ({error}); install it "
            f"with: pip install 'cluster-sim[{extra}]'"
        ) from error
