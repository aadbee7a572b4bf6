"""Figures of a pool's steps, for routing policies that estimate latencies from them."""

from typing import Final

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.routing.candidates import StepFigures
from cluster_sim.serving.scheduler_limits import SchedulerLimits

_CONTEXT_TOKENS: Final = 1024
"""Tokens in the cache of each request of the decode steps that are asked for."""
_MOST_ITEMS: Final = 64
_MOST_CHUNK_TOKENS: Final = 2048


def step_figures(predictor: Predictor, limits: SchedulerLimits) -> StepFigures | None:
    """Return a straight line through two decode steps, and the rate of one long chunk of a prompt.

    None for data-parallel ranks, whose steps depend on each other's.
    """
    if limits.data_parallel > 1:
        return None
    stages = range(predictor.stages)
    context = min(_CONTEXT_TOKENS, limits.max_model_len)
    many = max(2, min(_MOST_ITEMS, limits.max_num_seqs))
    one_ns, many_ns = (
        sum(predictor.step_ns(BatchShape(decodes=count, decode_kv_tokens=count * context), stage) for stage in stages)
        for count in (1, many)
    )
    request_ns = max(0.0, (many_ns - one_ns) / (many - 1))
    chunk = max(1, min(_MOST_CHUNK_TOKENS, limits.max_num_batched_tokens, limits.max_model_len))
    shape = BatchShape(prefills=[(chunk, 0)], completed_prefills=1)
    # Stages overlap, so the slowest one says how fast prompts are computed.
    slowest_ns = max(predictor.step_ns(shape, stage) for stage in stages)
    return StepFigures(max(0.0, one_ns - request_ns), request_ns, slowest_ns / chunk)
