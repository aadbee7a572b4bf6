"""Latencies of a request: the definitions of TTFT, TPOT, end to end, queue, prefill, decode and inference time.

The intervals are vLLM's (``vllm/v1/metrics/stats.py``).  TTFT and end to end run from the arrival at the router.  Queue
= first scheduled - dispatch (vLLM: arrival at the queue of the engine); prefill = first token - first scheduled,
preemptions included; decode = last token - first token; inference = last token - first scheduled; TPOT = decode /
(n - 1) for n output tokens.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.recording.rows import RowBlock

Int64Array = npt.NDArray[np.int64]


class Latencies(NamedTuple):
    """Latencies of some rows in ns, int64[n].  Rows without the instants that an interval needs have no meaning."""

    ttft: Int64Array
    tpot: Int64Array
    """Rounded half up; 0 for a single output token, as vLLM observes it in its histogram."""
    e2e: Int64Array
    queue: Int64Array
    inference: Int64Array
    prefill: Int64Array
    decode: Int64Array


def latencies_ns(block: RowBlock) -> Latencies:
    """Return the latencies of every row of ``block``."""
    arrival, dispatch = block.column("arrival_ns"), block.column("dispatch_ns")
    scheduled, first, finish = block.column("scheduled_ns"), block.column("first_token_ns"), block.column("finish_ns")
    gaps = block.column("output_tokens") - 1
    decode = finish - first
    return Latencies(
        ttft=first - arrival,
        tpot=np.where(gaps > 0, _rounded_quotient(decode, np.maximum(gaps, 1)), 0),
        e2e=finish - arrival,
        queue=scheduled - dispatch,
        inference=finish - scheduled,
        prefill=first - scheduled,
        decode=decode,
    )


def _rounded_quotient(numerator: Int64Array, divisor: Int64Array) -> Int64Array:
    """Return numerator / divisor for non-negative numerators, rounded half up: integers, so free of float order."""
    quotient: Int64Array = (2 * numerator + divisor) // (2 * divisor)
    return quotient
