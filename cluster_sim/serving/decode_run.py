"""A planned macro-step: decode-only iterations of an unchanged batch, as one vector."""

from typing import NamedTuple

import numpy as np

from cluster_sim.hardware.predictor import Int64Array


class DecodeRun(NamedTuple):
    """Iterations i = 0 .. k-1 of one pool.

    Iteration i is formed at ``formed_ns[i]`` and ends at ``ends_ns[i]``; with d batches in flight it is formed at the
    end of iteration i - d.  ``steps_ns`` are the durations.  The last iteration yields some member's last token when
    ``is_finishing``.
    """

    formed_ns: Int64Array
    ends_ns: Int64Array
    steps_ns: Int64Array
    is_finishing: bool

    @staticmethod
    def plan(first_formed_ns: int, ends_in_flight_ns: list[int], steps_ns: Int64Array, is_finishing: bool) -> "DecodeRun":
        """Lay ``steps_ns`` out after the batches in flight, whose ends are given in order (none, or depth - 1)."""
        start = max(first_formed_ns, ends_in_flight_ns[-1]) if ends_in_flight_ns else first_formed_ns
        steps = len(steps_ns)
        ends = np.cumsum(steps_ns)
        ends += start
        formed = np.empty(steps, np.int64)
        head = [first_formed_ns, *ends_in_flight_ns][:steps]
        formed[: len(head)] = head
        formed[len(head) :] = ends[: steps - len(head)]
        return DecodeRun(formed, ends, steps_ns, is_finishing)
