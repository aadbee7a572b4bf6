"""The axis of deployment formats: its registry, and what a format answers with.

A format is one file in ``formats/``: a class of options beside a function that reads the text of a file as servers,
and tells the findings what it leaves out.  The names are the subcommands' first argument.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.server import Server
from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry


@dataclass(frozen=True, slots=True)
class Source:
    """A file to be imported."""

    path: Path
    text: str
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the user gives for those that the file leaves open."""
    has_replicas: bool = False
    """Whether the user fixes the number of replicas."""


@dataclass(slots=True)
class Deployment:
    """What a format reads."""

    servers: list[Server]
    router: dict[str, Any] | None = None
    """The study's ``router`` block, where the deployment states one that is modelled."""


DeploymentReader = Callable[[Source, Findings], Deployment]
"""Reads a file; raises InputError with file, line and key for anything wrong in it."""


class FormatOptions(ConfigModel):
    """Base of the options of a format; none has any yet but its name."""


DEPLOYMENT_FORMATS: Final[Registry[DeploymentReader]] = Registry(
    "deployment format", "cluster_sim.deployment.formats", "cluster_sim.deployment_formats"
)
