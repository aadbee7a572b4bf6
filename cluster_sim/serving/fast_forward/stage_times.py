"""Times at which batches that take turns in a pipeline leave each of its stages.

A stage starts a batch when the batch has come and the one before it has left: at the larger of two times.  Which of the
two it is hardly ever changes from turn to turn, and once it is known, the times of all later turns are sums of costs.
So a turn or two are computed batch by batch, and the others from their choices, as vectors.  The equations have one
solution, so the times hold as far as they fulfil them: a choice that does not last costs time and no result.
"""

from collections.abc import Sequence as Row
from typing import Final

import numpy as np

from cluster_sim.hardware.batch_shape import Int64Array

_SINGLE_TURNS: Final = 2
"""Turns computed batch by batch where choices may have changed."""
_FEWEST_ALIKE: Final = 8
"""Turns that pay for vectors."""
_MORE: Final = 8
"""Where choices change faster than that, as with noise, so many times as many turns are computed batch by batch."""


class StageTimes:
    """Batches i = 0 .. steps - 1, the first turn scheduled at ``heads_ns``, each later one at the end of that a turn
    before it.

    ``costs_ns`` has a row per batch: the step of each stage and the way to the next, alternating, the last way 0.
    ``free_ns``: when each stage has finished what it has.  Batches from ``planned`` on have no times yet.
    """

    __slots__ = ("_ends_ns", "_free_ns", "_single_turns", "_stages", "_turn", "costs_ns", "planned", "steps")

    def __init__(self, heads_ns: Row[int], costs_ns: Int64Array, free_ns: Row[int]) -> None:
        self.costs_ns = costs_ns
        self.steps = len(costs_ns)
        self.planned = 0
        self._free_ns = list(free_ns)
        self._stages = len(free_ns)
        self._turn = len(heads_ns)
        self._single_turns = _SINGLE_TURNS
        self._ends_ns: Int64Array = np.zeros((self._turn + self.steps, self._stages), np.int64)
        """When each batch leaves each stage, behind a turn of batches of which only the end is known."""
        self._ends_ns[: self._turn, -1] = heads_ns

    @property
    def ends_ns(self) -> Int64Array:
        """When each batch leaves each stage."""
        return self._ends_ns[self._turn :]

    @property
    def scheduled_ns(self) -> Int64Array:
        """When each batch is scheduled, and when batches a turn beyond the last would be."""
        return self._ends_ns[:, -1]

    def plan(self, time_ns: int) -> None:
        """Compute the times of every batch that is scheduled at or before ``time_ns``, and of some that follow."""
        while self.planned < self.steps and self._ends_ns.item(self.planned, -1) <= time_ns:
            if self._turn == 1:
                self._plan_alone()
                return
            turns = (self.steps - self.planned) // self._turn - self._single_turns
            if turns < _FEWEST_ALIKE:
                self._plan_singly(self.steps - self.planned)
                return
            is_waiting = self._plan_singly(self._single_turns * self._turn)
            alike = self._plan_alike(is_waiting, turns)
            self._single_turns = _SINGLE_TURNS if alike >= _FEWEST_ALIKE * self._turn else self._single_turns * _MORE

    def _plan_alone(self) -> None:
        """Compute every batch of the only pool: none waits for another, but the first may for what the stages have."""
        if max(self._free_ns) > self._ends_ns.item(0, -1):
            self._plan_singly(1)
        first = self.planned
        elapsed_ns = np.add.accumulate(self.costs_ns[first:].reshape(-1))
        np.add(elapsed_ns[::2].reshape(-1, self._stages), self._ends_ns.item(first, -1), out=self._ends_ns[first + 1 :])
        self.planned = self.steps

    def _plan_singly(self, batches: int) -> list[bool]:
        """Compute the next batches one by one; return whether each of the last turn waited before each stage."""
        first, turn = self.planned, self._turn
        upto = min(first + batches, self.steps)
        scheduled_ns: list[int] = self._ends_ns[first : first + turn, -1].tolist()
        free_ns: list[int] = self._ends_ns[first + turn - 1].tolist() if first else self._free_ns.copy()
        costs: list[int] = self.costs_ns[first:upto].ravel().tolist()
        ends_ns: list[int] = []
        is_waiting: list[bool] = []
        at = 0
        for batch in range(upto - first):
            now = scheduled_ns[batch]
            for stage in range(self._stages):
                is_held = free_ns[stage] > now
                if is_held:
                    now = free_ns[stage]
                is_waiting.append(is_held)
                now += costs[at]
                free_ns[stage] = now
                now += costs[at + 1]
                at += 2
            ends_ns += free_ns
            scheduled_ns.append(now)
        self._ends_ns[first + turn : upto + turn] = np.array(ends_ns, np.int64).reshape(upto - first, self._stages)
        self.planned = upto
        return is_waiting[-turn * self._stages :]

    def _plan_alike(self, is_waiting: list[bool], turns: int) -> int:
        """Compute the next ``turns`` turns with the choices of the last; return how many batches that was right for.

        A place is a stage of a batch of a turn: batch by batch, stage by stage.
        """
        stages, turn, first = self._stages, self._turn, self.planned
        upto = first + turns * turn
        places = turn * stages
        before = _places_before(is_waiting, stages)
        costs_ns = self.costs_ns[first - turn : upto]
        steps_ns = costs_ns[:, ::2]
        # A row per turn, the first of which is known.
        ends_ns = self._ends_ns[first : upto + turn].reshape(turns + 1, places)
        added_ns = steps_ns.reshape(turns + 1, places).copy()
        ways_ns = costs_ns[:, 1::2].reshape(turns + 1, places)
        for place in range(places):
            if before[place] == place - 1:
                added_ns[:, place] += ways_ns[:, place - 1]
        # Places that follow one of the turn before, by the place of that kind they come from; then the others in order.
        sources: dict[int, int] = {}
        for place in range(places):
            if before[place] < place:
                continue
            source, rise_ns = before[place], added_ns[1:, place]
            while before[source] < source:
                rise_ns = rise_ns + added_ns[:-1, source]
                source = before[source]
            sources[place] = source
            if source == place:
                np.add(np.add.accumulate(rise_ns), ends_ns.item(0, place), out=ends_ns[1:, place])
            else:
                ends_ns[1:, place] = rise_ns
        if not _add_sources(ends_ns, sources):
            return 0
        for place in range(places):
            if before[place] < place:
                np.add(ends_ns[1:, before[place]], added_ns[1:, place], out=ends_ns[1:, place])
        return self._keep_right(costs_ns[turn:, 1:-1:2], steps_ns[turn:], first, upto)

    def _keep_right(self, ways_ns: Int64Array, steps_ns: Int64Array, first: int, upto: int) -> int:
        """Keep the times of batches from ``first`` up to ``upto`` as far as they fulfil the equations; return of how
        many.
        """
        turn = self._turn
        ends_ns = self._ends_ns[first + turn : upto + turn]
        right_ns = np.empty_like(ends_ns)
        right_ns[:, 0] = self._ends_ns[first:upto, -1]
        np.add(ends_ns[:, :-1], ways_ns, out=right_ns[:, 1:])
        np.maximum(right_ns, self._ends_ns[first + turn - 1 : upto + turn - 1], out=right_ns)
        right_ns += steps_ns
        is_wrong = right_ns != ends_ns
        count = int(is_wrong.any(axis=1).argmax()) if np.count_nonzero(is_wrong) else upto - first
        self.planned = first + count
        return count


def _places_before(is_waiting: list[bool], stages: int) -> list[int]:
    """Return the place that each place of a turn follows; one of the turn before if it is not a smaller one."""
    places = len(is_waiting)
    before = []
    for place, is_held in enumerate(is_waiting):
        if is_held:  # The same stage of the batch before.
            before.append((place - stages) % places)
        elif place % stages:  # The stage before of the same batch.
            before.append(place - 1)
        else:  # The last stage of the same batch, a turn before.
            before.append(place + stages - 1)
    return before


def _add_sources(ends_ns: Int64Array, sources: dict[int, int]) -> bool:
    """Add to the rises of places the times, a turn before, of those that they come from.

    Return whether all come in the end from one that comes from itself.
    """
    known = [place for place, source in sources.items() if source == place]
    for source in known:  # The list grows as the loop goes on.
        for place, its_source in sources.items():
            if its_source == source and place != source:
                ends_ns[1:, place] += ends_ns[:-1, source]
                known.append(place)
    return len(known) == len(sources)
