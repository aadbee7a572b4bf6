"""Planned steps of a single stage: when each is scheduled and when it ends."""

from collections.abc import Sequence as Row
from typing import Final

import numpy as np

from cluster_sim.hardware.batch_shape import Int64Array
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.fast_forward.interface import FastForwardScheduler
from cluster_sim.serving.fast_forward.planned_decode import PlannedDecode

_accumulated: Final = np.add.accumulate


class StagePlan(PlannedDecode):
    """Steps i = 0 .. k-1 of the only stage, laid out after the batches in flight.

    Step i takes ``steps_ns[i]`` and ends ``ends_ns[i]`` after ``start_ns``.  With d batches in flight, 1 or 2, it is
    scheduled at the end of the d-th batch before it: the first d at ``head_ns`` (the next scheduling instant, then the
    ends of the batches in flight), step i at the end of i - d.
    """

    __slots__ = ("_head_ns", "_last_end_ns", "_pools", "_scheduler", "ends_ns", "start_ns", "steps_ns")

    def __init__(
        self,
        head_ns: tuple[int, ...],
        steps_ns: Int64Array,
        pools: Row[DecodePool],
        scheduler: FastForwardScheduler,
        *,
        is_finishing: bool,
    ) -> None:
        self._head_ns = head_ns
        self._pools = pools
        """All of them make every step."""
        self._scheduler = scheduler
        self.steps_ns = steps_ns
        self.steps = len(steps_ns)
        first, last = head_ns[0], head_ns[-1]
        self.start_ns = first if first > last else last  # noqa: FURB136 - a call costs five times as much
        # Relative ends save a pass over the vector, and the ufunc itself half of what the method ``cumsum`` costs.
        self.ends_ns: Int64Array = _accumulated(steps_ns)
        self._last_end_ns: int = self.start_ns + self.ends_ns.item(-1)
        self.is_finishing = is_finishing
        self.offset = 0

    @property
    def last_end_ns(self) -> int:
        """When the last step ends."""
        return self._last_end_ns

    def end_ns(self, step: int) -> int:
        """Return when a step ends, for -1 when the first one starts."""
        if step < 0:
            return self.start_ns
        end: int = self.start_ns + self.ends_ns.item(step)
        return end

    def steps_scheduled_by(self, time_ns: int) -> int:
        """Return how many steps are scheduled at or before ``time_ns``."""
        if time_ns >= self._last_end_ns:
            return self.steps
        count = 0
        for scheduled_ns in self._head_ns:
            if scheduled_ns > time_ns:
                break
            count += 1
        else:
            count += int(self.ends_ns.searchsorted(time_ns - self.start_ns, "right"))
        return count if count < self.steps else self.steps  # noqa: FURB136 - a call costs five times as much

    def scheduled_ns(self, step: int) -> int:
        """Return when a step is scheduled."""
        head = self._head_ns
        depth = len(head)
        return head[step] if step < depth else self.start_ns + self.ends_ns.item(step - depth)

    def in_flight_after(self, upto: int) -> list[int]:
        """Return the ends of the batches in flight once ``upto`` steps are scheduled."""
        head, ends_ns = self._head_ns, self.ends_ns
        last_ns = self._last_end_ns if upto == self.steps else self.start_ns + ends_ns.item(upto - 1)
        if len(head) == 1:
            return [last_ns]
        return [self.start_ns + ends_ns.item(upto - 2) if upto > 1 else head[1], last_ns]
