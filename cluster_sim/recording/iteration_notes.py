"""Iterations of a replica that are noted and not counted yet: single steps, and runs of decode steps.

A macro-step notes hundreds of iterations in one call, a single step notes one; both only append.  ``take_in_flight``
takes those from the end that may outlast the run.
"""

from struct import Struct
from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.recording.note_buffer import NoteBuffer

Int64Array = npt.NDArray[np.int64]

STEP_FIELDS: Final = 6
"""Integers of a step: end and token gap in ns, requests that got a token, tokens of prompts, generated tokens, and
tokens of the whole prompts whose first tokens are among these."""
STEP: Final = Struct(f"{STEP_FIELDS}q")
"""Pack a step in half the time that an array takes to be extended by one."""
STEP_WEIGHT: Final = STEP_FIELDS // 2
"""A step's integers weigh as much as those of so many iterations of a run."""
RUN_WEIGHT: Final = 1
"""And the length and the requests of a run as much as one."""


class IterationNotes:
    """Notes of one replica; ``weight`` counts pairs of integers."""

    __slots__ = ("_run_ends", "_run_gaps", "_runs", "steps", "weight")

    def __init__(self) -> None:
        self.weight = 0
        self.steps = NoteBuffer()
        """Single iterations, ``STEP_FIELDS`` integers each."""
        self._run_ends = NoteBuffer()
        self._run_gaps = NoteBuffer()
        self._runs = NoteBuffer()
        """(iterations, requests of each) of every run."""

    @property
    def single_steps(self) -> Int64Array:
        """The single iterations, int64[iterations, STEP_FIELDS]; valid until more is noted."""
        return self.steps.values.reshape(-1, STEP_FIELDS)

    @property
    def has_runs(self) -> bool:
        """Whether runs are noted."""
        return self._runs.size > 0

    @property
    def runs(self) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
        """(ends, gaps) of the iterations of all runs and (lengths, requests) of the runs; valid until more is noted."""
        lengths, requests = self._runs.values.reshape(-1, 2).T
        return self._run_ends.values, self._run_gaps.values, lengths, requests

    def runs_since(self, iteration: int, run: int) -> tuple[Int64Array, Int64Array, Int64Array] | None:
        """Return the (ends, gaps) of the runs' iterations from one on, and (length, requests) of every run from one on,
        flat; None if there are none.  Valid until more is noted.
        """
        counts = self._runs.since(2 * run)
        if not len(counts):
            return None
        return self._run_ends.since(iteration), self._run_gaps.since(iteration), counts

    def add_run(self, ends_ns: Int64Array, gaps_ns: Int64Array, requests: int, since_ns: int) -> None:
        """Note decode steps of ``requests`` requests each; ends count from ``since_ns``."""
        count = len(ends_ns)
        self._run_ends.extend_sums(ends_ns, since_ns)
        self._run_gaps.extend(gaps_ns)
        self._runs.append_pair(count, requests)
        self.weight += count + RUN_WEIGHT

    def add_steps(self, steps: Int64Array) -> None:
        """Note int64[iterations, STEP_FIELDS] single iterations."""
        self.steps.extend(steps.reshape(-1))
        self.weight += STEP_WEIGHT * len(steps)

    def as_steps(self) -> Int64Array:
        """Return every iteration as a step, int64[iterations, STEP_FIELDS], those of runs last."""
        steps, runs = self.single_steps, self._run_ends.size
        return np.concatenate([steps, self._last_of_runs(runs)]) if runs else steps

    def take_in_flight(self, most: int, upto_ns: int) -> Int64Array:
        """Take the iterations that end after ``upto_ns``, ``most`` at most, from the end; return them in order, each a
        step.
        """
        steps, decodes = self.single_steps[-most:], self._last_of_runs(most)
        both = np.concatenate([steps, decodes])
        order = np.argsort(both[:, 0], kind="stable")[-most:]
        order = order[both[order, 0] > upto_ns]
        single = int(np.count_nonzero(order < len(steps)))
        self.steps.drop(STEP_FIELDS * single)
        self._drop_of_runs(len(order) - single)
        taken: Int64Array = both[order]
        return taken

    def _last_of_runs(self, most: int) -> Int64Array:
        """Return the last iterations of the runs as steps, int64[iterations, STEP_FIELDS]."""
        ends, gaps, lengths, requests = self.runs
        rows = np.zeros((min(len(ends), most), STEP_FIELDS), np.int64)
        count = len(rows)
        if count:
            held = int(np.searchsorted(np.cumsum(lengths[::-1]), count)) + 1
            rows[:, 0], rows[:, 1] = ends[-count:], gaps[-count:]
            rows[:, 2] = rows[:, 4] = np.repeat(requests[-held:], lengths[-held:])[-count:]
        return rows

    def _drop_of_runs(self, count: int) -> None:
        """Forget the last iterations of the runs."""
        self._run_ends.drop(count)
        self._run_gaps.drop(count)
        runs = self._runs
        while count:
            length = runs.values.item(-2)
            if length > count:
                runs.values[-2] -= count
                break
            runs.drop(2)
            count -= length

    def clear(self) -> None:
        """Forget everything."""
        self.weight = 0
        for notes in (self.steps, self._run_ends, self._run_gaps, self._runs):
            notes.clear()
