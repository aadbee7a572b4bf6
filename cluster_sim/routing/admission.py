"""Admission: requests go to replicas that can run them.

What no replica can ever run is refused at the hub, since a replica may not answer without a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cluster_sim.recording.reasons import CONTEXT_LENGTH, KV_CACHE
from cluster_sim.workload.request import Request

NOBODY: Final[Sequence[int]] = ()
"""The replicas that can run a request that none can."""


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


class Admission:
    """Says for each request which of a model's replicas can run it."""

    def __init__(self, limits: Sequence[StaticLimits]) -> None:
        """``limits`` holds those of every replica, in the order of their positions."""
        self._limits = list(limits)
        self._index()

    def add(self, limits: StaticLimits) -> None:
        """Take in a replica that joins."""
        self._limits.append(limits)
        self._index()

    def _index(self) -> None:
        self._distinct = tuple(dict.fromkeys(self._limits))
        self._able: dict[tuple[bool, ...], Sequence[int] | None] = {
            (False,) * len(self._distinct): NOBODY,
            (True,) * len(self._distinct): None,
        }
        """Positions by which of the distinct limits hold; None is everybody."""

    def eligible(self, request: Request) -> Sequence[int] | None:
        """Return the positions that can run the request, ascending; None if all can, ``NOBODY`` if none can."""
        if len(self._distinct) == 1:
            return None if self._distinct[0].can_run(request) else NOBODY
        holds = tuple([limits.can_run(request) for limits in self._distinct])
        if holds not in self._able:
            able = {limits for limits, is_able in zip(self._distinct, holds, strict=True) if is_able}
            self._able[holds] = [position for position, limits in enumerate(self._limits) if limits in able]
        return self._able[holds]

    def reason(self, request: Request) -> str:
        """Return why nobody can run the request."""
        tokens = request.prompt_tokens + request.output_tokens
        return CONTEXT_LENGTH if all(tokens > limits.max_model_len for limits in self._distinct) else KV_CACHE
