# ruff: noqa: ARG002 - PHOLD needs less than the actors offer
"""PHOLD on the actors, with routers and groups that fail in one way each."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actors.codec import Codec
from actors.run_spec import StageStart
from cluster_sim.engine.coordinator import Coordinator, ProcessLink, Traffic
from cluster_sim.engine.group import Group, LinkDelays
from cluster_sim.engine.instant import Instant
from cluster_sim.engine.loop import Unwatched
from cluster_sim.engine.process import Join
from cluster_sim.errors import InputError
from cluster_sim.snapshot.names import SnapshotError
from tests.engine.phold import Phold, PholdHub, PholdProcess, phold_codec, phold_digest
from tests.engine.star import run_sequentially


class PholdRouter:
    def __init__(self, study: Phold) -> None:
        self.hub = PholdHub(study)
        self.observer = Unwatched()
        self._study = study

    def coordinator(self, groups: Sequence[Sequence[int]]) -> Coordinator:
        links = self._study.links([list(members) for members in groups])
        (plain,) = self._study.links([[0]])

        def link_of_joining(source: int, _join: Join) -> ProcessLink:
            return replace(plain, source=source, group=(source - 1) % len(groups))

        return Coordinator(self.hub, links, self._study.run_end, link_of_joining=link_of_joining)

    def state(self, coordinator: Coordinator) -> bytes:
        raise SnapshotError("PHOLD keeps no snapshots")

    def end(self) -> Instant:
        return self._study.run_end

    def watch(self, traffic: Traffic) -> None:
        """Show nothing."""
        del traffic

    def live(self, known: int) -> None:
        """Have no snapshots."""
        del known

    def progress(self) -> int:
        return self.hub.handled

    def close(self, coordinator: Coordinator) -> tuple[int, ...]:
        return self.hub.digest, self.hub.handled


class PholdGroup:
    def __init__(self, study: Phold, indices: Sequence[int], *, is_staged: bool) -> None:
        assert not is_staged
        self._processes = [PholdProcess(study, index) for index in indices]
        delays = {process.source: study.link_delays for process in self._processes}
        self.group = Group(self._processes, delays, study.observation, self._join)
        self._study = study

    def _join(self, source: int, _join: Join) -> tuple[PholdProcess, LinkDelays]:
        self._processes.append(PholdProcess(self._study, source - 1))
        return self._processes[-1], self._study.link_delays

    def take_batches(self) -> list[tuple[int, Sequence[int]]]:
        return []

    def stage_starts(self) -> list[StageStart]:
        return []

    def drain(self) -> None:
        return None

    def state(self) -> bytes:
        raise SnapshotError("PHOLD keeps no snapshots")

    def results(self, end: Instant) -> list[tuple[int, int]]:
        return [(process.source, process.digest) for process in self._processes]


class FaultyGroup(PholdGroup):
    """Raises in the middle of a run."""

    def __init__(self, study: Phold, indices: Sequence[int], *, is_staged: bool) -> None:
        super().__init__(study, indices, is_staged=is_staged)
        step = self.group.step

        def faulty(window: Any) -> Any:
            if window.number > 5:
                raise RuntimeError("the model broke")
            return step(window)

        self.group.step = faulty  # type: ignore[method-assign]


class SlowGroup(PholdGroup):
    """Takes long over some windows, and records the number of each."""

    def __init__(self, study: Phold, indices: Sequence[int], *, is_staged: bool) -> None:
        super().__init__(study, indices, is_staged=is_staged)
        self._numbers: list[tuple[int, int]] = []
        step = self.group.step

        def slow(window: Any) -> Any:
            self._numbers.append((indices[0], window.number))
            if window.number in {9, 33}:
                time.sleep(0.4)
            return step(window)

        self.group.step = slow  # type: ignore[method-assign]

    def drain(self) -> list[tuple[int, int]]:  # type: ignore[override]
        numbers, self._numbers = self._numbers, []
        return numbers


class LateRouter(PholdRouter):
    """Finds the input wrong in the middle of a run."""

    def __init__(self, study: Phold) -> None:
        super().__init__(study)
        handle = self.hub.handle

        def faulty() -> Any:
            if self.hub.handled > 5:
                raise InputError("trace.csv: line 9: the time goes backwards")
            return handle()

        self.hub.handle = faulty  # type: ignore[method-assign]


class PickyGroup(PholdGroup):
    """Finds the input wrong."""

    def __init__(self, study: Phold, indices: Sequence[int], *, is_staged: bool) -> None:
        raise InputError("tables.csv: no such file")


@dataclass(frozen=True)
class MortalPhold(Phold):
    """A study the actor of whose second process a test can kill."""

    victim: str = ""
    """File for the number of that process."""


class MortalGroup(PholdGroup):
    def __init__(self, study: MortalPhold, indices: Sequence[int], *, is_staged: bool) -> None:
        super().__init__(study, indices, is_staged=is_staged)
        if 1 in indices:
            Path(study.victim).write_text(str(os.getpid()), encoding="ascii")


@dataclass(frozen=True)
class PholdRun:
    """A ``RunSpec`` of a PHOLD study."""

    study: Phold
    group_class: type[PholdGroup] = PholdGroup
    router_class: type[PholdRouter] = PholdRouter
    extra: Any = None
    """Something that travels with the run."""

    def codec(self) -> Codec:
        return phold_codec()

    def router_runtime(self) -> PholdRouter:
        return self.router_class(self.study)

    def group_runtime(self, indices: Sequence[int], *, is_staged: bool) -> PholdGroup:
        return self.group_class(self.study, indices, is_staged=is_staged)


def phold_reference(study: Phold) -> tuple[int, ...]:
    """Return the digests of one sequential program."""
    hub, processes = PholdHub(study), [PholdProcess(study, index) for index in range(study.processes)]
    run_sequentially(hub, processes, study.run_end, lambda source: PholdProcess(study, source - 1))
    return phold_digest(hub, processes)
