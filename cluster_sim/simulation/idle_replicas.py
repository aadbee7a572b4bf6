"""Times of a request that has a replica to itself, by length: what a breakdown of a run's requests compares with."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.simulation.simulation import SimulatedPool
from cluster_sim.units import NS_PER_S

FloatArray = npt.NDArray[np.float64]

_LENGTHS: Final = 64
"""Lengths between which times are interpolated."""
_MOST_CHUNKS: Final = 1024
"""Chunks of a prompt that are asked for; longer prompts are taken to go on at the rate of the last ones."""


def idle_replica(pool: SimulatedPool, cold_start_ns: int = 0) -> dict[str, Any]:
    """Return an entry of ``idle_replicas`` of a run's summary (see ``docs/results.md``).

    The lengths are null where speculative decoding yields several tokens a step, how many being a matter of chance.
    """
    limits, predictor = pool.limits, pool.predictor
    entry: dict[str, Any] = {
        "name": pool.name,
        "forward_link_s": pool.delays.forward_ns / NS_PER_S,
        "return_link_s": pool.delays.return_ns / NS_PER_S,
        "cold_start_s": cold_start_ns / NS_PER_S,
        "tokens": None,
        "prefill_s": None,
        "decode_s": None,
    }
    if limits.tokens_per_step > 1:
        return entry
    tokens = _lengths(limits.max_model_len)
    entry["tokens"] = tokens.tolist()
    entry["prefill_s"] = (_prefill_ns(predictor, limits, tokens) / NS_PER_S).tolist()
    entry["decode_s"] = (_decode_ns(predictor, tokens) / NS_PER_S).tolist()
    return entry


def _lengths(longest: int) -> npt.NDArray[np.int64]:
    """Return lengths from 0 to ``longest``, closer to each other where they are small."""
    return np.unique(np.concatenate([np.zeros(1), np.rint(np.geomspace(1, longest, _LENGTHS))]).astype(np.int64))


def _step_ns(predictor: Predictor, shape: BatchShape) -> int:
    """Return how long a batch takes through all stages; of data-parallel ranks the others have nothing to do."""
    if predictor.ranks > 1:
        shape = replace(shape, ranks=(shape,))
    stages = range(predictor.stages)
    links = sum(predictor.stage_link_ns(shape.tokens, stage) for stage in stages[:-1])
    return sum(predictor.step_ns(shape, stage) for stage in stages) + links


def _prefill_ns(predictor: Predictor, limits: SchedulerLimits, tokens: npt.NDArray[np.int64]) -> FloatArray:
    """Return the time to compute prompts chunk by chunk."""
    longest = int(tokens[-1])
    chunk = max(1, min(limits.max_num_batched_tokens, longest), -(-longest // _MOST_CHUNKS))
    whole = [0]
    """Time of so many full chunks."""
    for start in range(0, longest - chunk + 1, chunk):
        whole.append(whole[-1] + _step_ns(predictor, BatchShape(prefills=[(chunk, start)], completed_prefills=0)))
    times = []
    for length in tokens.tolist():
        chunks, rest = divmod(length, chunk)
        shape = BatchShape(prefills=[(rest, chunks * chunk)], completed_prefills=1)
        times.append(whole[chunks] + (_step_ns(predictor, shape) if rest else 0))
    return np.array(times, np.float64)


def _decode_ns(predictor: Predictor, tokens: npt.NDArray[np.int64]) -> FloatArray:
    """Return the sums of decode steps by context, step times between two lengths lying on a straight line."""
    steps = np.array(
        [_step_ns(predictor, BatchShape(decodes=1, decode_kv_tokens=length)) for length in tokens.tolist()], np.float64
    )
    gaps = np.diff(tokens)
    # The sum of n values from a to b, b left out, on a straight line.
    sums = gaps * steps[:-1] + np.diff(steps) * (gaps - 1) / 2
    return np.concatenate([np.zeros(1), np.cumsum(sums)])
