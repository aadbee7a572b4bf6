"""A server as a deployment describes it, before it becomes a pool."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Stated:
    """A text of a deployment and the place where it stands."""

    text: str
    place: str
    """File and line."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One flag of a command line."""

    name: str
    """Canonical, in the form ``max-num-seqs``."""
    value: str | None
    """None for a switch."""
    place: str
    written: str
    """As the command line has it."""


@dataclass(slots=True)
class Server:
    """One serving engine of a deployment, and how often it is there."""

    name: str
    place: str
    """Where its description begins."""
    arguments: list[Argument] = field(default_factory=list)
    model: Stated | None = None
    version: Stated | None = None
    """Version of vLLM, from the tag of its image."""
    device: Stated | None = None
    """GPU as labels or selectors name it."""
    gpus: Stated | None = None
    """GPUs that one of its pods asks for."""
    replicas: int = 1
    engine: dict[str, Any] = field(default_factory=dict)
    """Engine options that are known without a flag, such as the blocks that a running server reports."""
    is_report: bool = False
    """Whether a running server reported what it has, so that flags without a value here are not vLLM's defaults."""
