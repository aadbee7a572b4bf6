"""Data-parallel ranks that step together: a step lasts as long as that of the slowest rank.

Design: the ranks of a mixture-of-experts replica meet in every layer with experts, to which each sends its tokens, so
none can be ahead of another, and the step is the maximum over the ranks.  While the rank with most tokens runs in a
CUDA graph, vLLM pads all ranks to it, those without work too: each is priced as if the others had as many tokens as it
has, which for the longest is what happens.  Longer steps are not padded, and the experts see the tokens there are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.cuda_graphs import LARGEST_GRAPH_TOKENS
from cluster_sim.hardware.predictors.predictor_interface import Predictor


class LockstepPredictor(Predictor):
    """Prices the joint batches of ranks that are all alike."""

    def __init__(self, rank: Predictor, ranks: int) -> None:
        """``rank`` prices one of ``ranks`` ranks."""
        super().__init__()
        self._rank = rank
        self.stages = rank.stages
        self.ranks = ranks
        self.measured = rank.measured
        self.is_calibrated = rank.is_calibrated
        self.label = f"{rank.label}, {ranks} ranks"
        self.frontend_ns = rank.frontend_ns
        self.frontend_ns_per_token = rank.frontend_ns_per_token
        self.choice = rank.choice
        self.error_band = rank.error_band

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:
        """Return the longest step of any rank in ns; a shape without ranks is that of one rank."""
        if not shape.ranks:
            return self._rank.step_ns(shape, stage)
        parts: Iterable[BatchShape] = shape.ranks
        if shape.tokens > LARGEST_GRAPH_TOKENS:
            total = sum(part.tokens for part in parts)
            parts = (replace(part, routed_tokens=total) for part in parts)
        return max(self._rank.step_ns(part, stage) for part in parts)

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        """Return the durations of consecutive decode-only steps of one rank, int64[steps]."""
        return self._rank.decode_run_ns(decodes, kv_tokens, steps, stage)

    def joint_run_ns(self, loads: Sequence[tuple[int, int]], steps: int) -> Int64Array | None:
        """Return the longest of the ranks' steps; None beyond the CUDA graphs, where each depends on all ranks."""
        if sum(decodes for decodes, _ in loads) > LARGEST_GRAPH_TOKENS:
            return None
        runs = [self._rank.decode_run_ns(decodes, kv_tokens, steps) for decodes, kv_tokens in loads]
        longest: Int64Array = np.maximum.reduce(runs)
        return longest

    def is_inside(self, shape: BatchShape, stage: int = 0) -> bool:
        """Return whether a step of one rank lies inside the region measured for it."""
        return self._rank.is_inside(shape, stage)

    def steps_inside(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> int:
        """Return how many decode-only steps of one rank do."""
        return self._rank.steps_inside(decodes, kv_tokens, steps, stage)

    def floor_ns(self, stage: int = 0) -> int:
        """Return the floor of one rank: every joint step has a rank with work."""
        return self._rank.floor_ns(stage)

    def stage_link_ns(self, tokens: int, stage: int) -> int:
        """Return the time to send the activations of the rank with most tokens; the ranks have links of their own."""
        return self._rank.stage_link_ns(tokens, stage)
