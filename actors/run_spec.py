"""Run specification: all that actors must be told of a study, as plain data and import paths.

The actors know nothing of serving.  A study names three functions by import path; each actor imports its own and calls
it with the study's plain data.  So a test model runs on the same actors as a serving study.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cluster_sim.engine.coordinator import Coordinator, ProcessLink
from cluster_sim.engine.group import Group
from cluster_sim.engine.hub import Hub
from cluster_sim.engine.instant import Instant
from cluster_sim.engine.loop import Observer


class RouterRuntime(Protocol):
    """What the router actor plays: the hub with its books."""

    hub: Hub
    run_end: Instant
    observer: Observer
    """Paces the run and keeps its live figures; a ``Watch`` or something that wraps one."""

    def links(self, groups: Sequence[Sequence[int]]) -> list[ProcessLink]:
        """Return the links of all leaves (indices from 0) placed in groups."""

    def end(self) -> Instant:
        """Return where the run ended, once nothing can happen any more."""

    def progress(self) -> Any:
        """Return the live figures for whoever shows them; called from another thread, plain data."""

    def close(self, coordinator: Coordinator) -> Any:
        """Complete the books and return the hub's result."""


class ReplicaGroupRuntime(Protocol):
    """What one group actor plays: its leaves."""

    group: Group

    def take_batches(self) -> list[tuple[int, Sequence[int]]]:
        """Return (leaf source, flat stream of ``Pipeline.take_stream``) of every leaf with new batches."""

    def drain(self) -> Any:
        """Return and forget what the leaves noted since the last call (time series), plain data."""

    def results(self, end: Instant) -> Any:
        """Return what the leaves leave, once the run has ended."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A study for the actors.  Import paths are written ``package.module:function``."""

    router_runtime: str
    """``(data) -> RouterRuntime``"""
    group_runtime: str
    """``(data, indices of the leaves, whether stages are actors) -> ReplicaGroupRuntime``"""
    codec: str
    """``() -> Codec``"""
    data: Any
    """Handed to both; pickled once into the object store."""


def load(path: str) -> Callable[..., Any]:
    """Return the function at ``package.module:function``."""
    module, _, name = path.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
