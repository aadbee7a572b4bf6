"""Admission: requests that can never run are refused at the hub, since a replica may not answer without a step."""

from collections.abc import Iterable
from dataclasses import dataclass

from cluster_sim.workload.request import Request


@dataclass(frozen=True, slots=True)
class StaticLimits:
    """The limits of one pool's replicas."""

    max_model_len: int
    kv_blocks: int
    block_size: int
    tokens_per_step: int = 1
    """Most tokens that a request can gain in a step."""

    def can_run(self, request: Request) -> bool:
        """Whether the request fits an empty replica: context length, and cache for all tokens but the last one."""
        tokens = request.prompt_tokens + request.output_tokens
        blocks = -(-(tokens - 1) // self.block_size)
        return tokens <= self.max_model_len and blocks <= self.kv_blocks


def strictest(limits: Iterable[StaticLimits]) -> StaticLimits:
    """Return what every one of several pools can run; block sizes may differ, so the cache is compared in tokens."""
    known = list(limits)
    tightest = min(known, key=lambda each: each.kv_blocks * each.block_size)
    return StaticLimits(
        min(each.max_model_len for each in known),
        tightest.kv_blocks,
        tightest.block_size,
        max(each.tokens_per_step for each in known),
    )
