"""Runs whose processes are all dropped now and then, and made again from a snapshot in a simulation built anew."""

from collections.abc import Callable, Sequence

from cluster_sim.simulation.executor import RunOutcome, RunOutputs, TakeSnapshot
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.run_snapshot import RunSnapshot
from cluster_sim.simulation.simulation import Simulation
from tests.engine.in_memory import InMemoryExecutor
from tests.evidence import outcome_of

Choose = Callable[[int], int]
"""Returns a number below its argument."""


class _DroppedError(Exception):
    """All processes are gone."""


class Drops:
    """Checkpoints after which every process is dropped, at one of ``one_in`` window edges, ``most`` times."""

    def __init__(self, choose: Choose, one_in: int, most: int) -> None:
        self.resumed: RunSnapshot | None = None
        self.count = 0
        self._choose = choose
        self._one_in = one_in
        self._most = most

    is_active = True

    def is_due(self) -> bool:
        """Return whether the processes are dropped at this edge."""
        return self.count < self._most and not self._choose(self._one_in)

    def keep(self, take: TakeSnapshot) -> None:
        """Keep a snapshot and drop everything else."""
        self.resumed = take()
        self.count += 1
        raise _DroppedError


class DroppingExecutor:
    """An ``Executor`` whose processes are dropped and restored; each time in other groups, drawn by ``choose``, that
    are called directly or answer through frames with random delays.
    """

    def __init__(self, build: Callable[[], Simulation], choose: Choose, one_in: int = 8, most: int = 6) -> None:
        """``build`` builds an equal simulation from the study again."""
        self._build = build
        self._choose = choose
        self.drops = Drops(choose, one_in, most)

    def run(self, simulation: Simulation, outputs: RunOutputs) -> RunOutcome:
        """Run a simulation to its end."""
        while True:
            dropping = RunOutputs(series=outputs.series, checkpoints=self.drops)
            groups = self._groups(simulation.replicas)
            executor = InMemoryExecutor(groups, self._choose) if self._choose(3) else InlineExecutor(groups)
            try:
                return executor.run(simulation, dropping)
            except _DroppedError:
                simulation = self._build()

    def _groups(self, replicas: int) -> Sequence[Sequence[int]]:
        groups: list[list[int]] = [[] for _ in range(1 + self._choose(min(replicas, 3)))]
        for index in range(replicas):
            groups[self._choose(len(groups))].append(index)
        return [group for group in groups if group]


def assert_survives_drops(build: Callable[[], Simulation], choose: Choose, one_in: int = 8, most: int = 6) -> int:
    """Assert that a run with dropped processes leaves what an undisturbed one leaves; return how often they were."""
    expected = outcome_of(InlineExecutor(), build())
    executor = DroppingExecutor(build, choose, one_in, most)
    assert outcome_of(executor, build()) == expected
    return executor.drops.count
