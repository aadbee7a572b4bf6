"""A planned macro-step: decode-only iterations of an unchanged batch, as one vector."""

import numpy as np

from cluster_sim.hardware.predictor import Int64Array


class DecodeRun:
    """Iterations i = 0 .. k-1 of one pool, laid out after the batches in flight.

    Iteration i ends at ``ends_ns[i]`` and takes ``steps_ns[i]``.  With d batches in flight it is formed at the end of
    the d-th batch before it: the first d at ``head_ns`` (the next formation's time, then the ends of the batches in
    flight), iteration i at ``ends_ns[i - d]``.  ``offset`` counts the iterations committed.
    """

    __slots__ = ("_head_ns", "ends_ns", "is_finishing", "last_end_ns", "offset", "steps", "steps_ns")

    def __init__(self, head_ns: list[int], steps_ns: Int64Array, *, is_finishing: bool) -> None:
        self._head_ns = head_ns
        self.steps_ns = steps_ns
        self.steps = len(steps_ns)
        ends: Int64Array = steps_ns.cumsum()
        ends += np.int64(max(head_ns[0], head_ns[-1]))
        self.ends_ns = ends
        self.last_end_ns: int = ends.item(-1)
        self.is_finishing = is_finishing
        """Whether the last iteration yields some member's last token."""
        self.offset = 0

    def steps_formed_by(self, time_ns: int) -> int:
        """Return how many iterations are formed at or before ``time_ns``."""
        count = 0
        for formed_ns in self._head_ns:
            if formed_ns > time_ns:
                return min(count, self.steps)
            count += 1
        if time_ns >= self.last_end_ns:
            return self.steps
        return min(count + int(self.ends_ns.searchsorted(time_ns, "right")), self.steps)

    def formed_ns(self, step: int) -> int:
        """Return when iteration ``step`` is formed."""
        head = self._head_ns
        return head[step] if step < len(head) else int(self.ends_ns[step - len(head)])

    def steps_formed_before(self, time_ns: int) -> int:
        """Return how many iterations are formed before ``time_ns``."""
        return self.steps_formed_by(time_ns - 1)
