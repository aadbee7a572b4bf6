"""Clock of a replica's life: how long work takes when it starts at a given time, and when the next crash ends it.

The end of a step is a pure function of when it starts and how much work it is.  The work of a step that starts in a
slow interval is its factor times as much, rounded up; nothing goes on during a hang.
"""

import math
from collections.abc import Sequence

import numpy as np

from cluster_sim.hardware.batch_shape import Int64Array
from cluster_sim.serving.lives.intervals import FOREVER_NS
from cluster_sim.serving.lives.timeline import Crash, Timeline


class LifeClock:
    """The present life of one replica, up to its next crash."""

    __slots__ = ("_hangs", "_slowdowns", "birth_ns", "crash", "crash_ns", "timeline")

    def __init__(self, timeline: Timeline, birth_ns: int = 0) -> None:
        """``birth_ns`` is when the replica's first life begins."""
        self.timeline = timeline
        self._slowdowns = timeline.slowdowns
        self._hangs = timeline.hangs
        self.birth_ns = birth_ns
        """When this life began."""
        self.crash: Crash | None = None
        self.crash_ns = FOREVER_NS
        """When this life ends."""
        self.begin(birth_ns)

    def begin(self, birth_ns: int) -> None:
        """Begin a life at ``birth_ns``; it lasts until the first crash after that, a life from 0 on may end at once."""
        self.birth_ns = birth_ns
        self.crash = self.timeline.crash_from(birth_ns + 1 if birth_ns else 0)
        self.crash_ns = FOREVER_NS if self.crash is None else self.crash.crash_ns

    def duration_ns(self, start_ns: int, work_ns: int) -> int:
        """Return how long after ``start_ns`` a step of ``work_ns`` ends."""
        hang = self._hangs.ending_after(start_ns)
        now_ns = start_ns
        if hang is not None and hang.start_ns <= now_ns:
            now_ns = hang.end_ns
            hang = self._hangs.ending_after(now_ns)
        slow = self._slowdowns.holding(now_ns)
        left_ns = work_ns if slow is None else math.ceil(work_ns * slow.factor)
        while hang is not None and hang.start_ns < now_ns + left_ns:
            left_ns -= hang.start_ns - now_ns
            now_ns = hang.end_ns
            hang = self._hangs.ending_after(now_ns)
        return now_ns + left_ns - start_ns

    def fit(self, start_ns: int, steps_ns: Int64Array) -> Int64Array:
        """Return the durations of the first of some steps that follow each other from ``start_ns`` on, as many as end
        before the next change of pace and no later than the crash.

        ``steps_ns`` has their work, int64[steps], one at least; the result may be empty.
        """
        hang = self._hangs.ending_after(start_ns)
        hang_ns = FOREVER_NS if hang is None else hang.start_ns
        if hang_ns <= start_ns:
            return steps_ns[:0]
        slow = self._slowdowns.ending_after(start_ns)
        change_ns = FOREVER_NS
        if slow is not None:
            change_ns = slow.start_ns
            if change_ns <= start_ns:
                change_ns = slow.end_ns
                steps_ns = np.ceil(steps_ns * slow.factor).astype(np.int64)
        ends_ns = start_ns + np.add.accumulate(steps_ns)
        # What starts before the change keeps its pace; what ends by the hang is not held up.
        count = int(np.searchsorted(ends_ns[:-1], min(change_ns, hang_ns), side="left")) + 1
        return steps_ns[: min(count, int(np.searchsorted(ends_ns, min(self.crash_ns, hang_ns), side="right")))]

    def fit_stages(self, heads_ns: Sequence[int], free_ns: Sequence[int], costs_ns: Int64Array) -> Int64Array:
        """Return the costs of the first of some batches that follow each other through several stages, those that end
        no later than the crash.

        All are as in ``PipelinedDecode``; the result may be empty.
        """
        scheduled_ns, stage_free_ns = list(heads_ns), list(free_ns)
        rows: list[list[int]] = costs_ns.tolist()
        # The list of times grows as the loop goes on.
        for index, (now_ns, row) in enumerate(zip(scheduled_ns, rows, strict=False)):
            at_ns = now_ns
            for stage in range(len(stage_free_ns)):
                at_ns = max(at_ns, stage_free_ns[stage])
                row[2 * stage] = self.duration_ns(at_ns, row[2 * stage])
                at_ns += row[2 * stage]
                stage_free_ns[stage] = at_ns
                at_ns += row[2 * stage + 1]
            if at_ns > self.crash_ns:
                del rows[index:]
                break
            scheduled_ns.append(at_ns)
        return np.array(rows, np.int64).reshape(len(rows), costs_ns.shape[1])
