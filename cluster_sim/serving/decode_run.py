"""A planned macro-step: decode-only iterations of an unchanged batch, as one vector."""

import numpy as np

from cluster_sim.hardware.predictor import Int64Array


class DecodeRun:
    """Iterations i = 0 .. k-1 of one pool, laid out after the batches in flight.

    Iteration i takes ``steps_ns[i]`` and ends ``ends_ns[i]`` after ``start_ns``.  With d batches in flight it is formed
    at the end of the d-th batch before it: the first d at ``head_ns`` (the next formation's time, then the ends of the
    batches in flight), iteration i at the end of i - d.  ``offset`` counts the iterations committed.
    """

    __slots__ = ("_head_ns", "ends_ns", "is_finishing", "last_end_ns", "offset", "start_ns", "steps", "steps_ns")

    def __init__(self, head_ns: tuple[int, ...], steps_ns: Int64Array, steps: int, *, is_finishing: bool) -> None:
        self._head_ns = head_ns
        self.steps_ns = steps_ns
        self.steps = steps
        first, last = head_ns[0], head_ns[-1]
        self.start_ns = first if first > last else last  # noqa: FURB136 - a call costs five times as much
        # Relative ends save a pass over the vector, and the ufunc itself half of what the method ``cumsum`` costs.
        self.ends_ns: Int64Array = np.add.accumulate(steps_ns)
        self.last_end_ns: int = self.start_ns + self.ends_ns.item(-1)
        self.is_finishing = is_finishing
        """Whether the last iteration yields some member's last token."""
        self.offset = 0

    def end_ns(self, step: int) -> int:
        """Return when iteration ``step`` ends, for -1 when the first one starts."""
        if step < 0:
            return self.start_ns
        end: int = self.start_ns + self.ends_ns.item(step)
        return end

    def steps_formed_by(self, time_ns: int) -> int:
        """Return how many iterations are formed at or before ``time_ns``."""
        if time_ns >= self.last_end_ns:
            return self.steps
        count = 0
        for formed_ns in self._head_ns:
            if formed_ns > time_ns:
                break
            count += 1
        else:
            count += int(self.ends_ns.searchsorted(time_ns - self.start_ns, "right"))
        return count if count < self.steps else self.steps  # noqa: FURB136 - a call costs five times as much

    def formed_ns(self, step: int) -> int:
        """Return when iteration ``step`` is formed."""
        head = self._head_ns
        return head[step] if step < len(head) else self.end_ns(step - len(head))

    def steps_formed_before(self, time_ns: int) -> int:
        """Return how many iterations are formed before ``time_ns``."""
        return self.steps_formed_by(time_ns - 1)
