"""Space-time sharing of steps between long and short prompts."""

from typing import Literal

from pydantic import Field

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.options import MOST_ITEMS
from cluster_sim.serving.deadlines import DeadlineOptions
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, PrefixTokens
from cluster_sim.serving.queue_orders.lrs import LeastRemainingSlack
from cluster_sim.serving.sequence import Sequence


class StOptions(DeadlineOptions):
    """As lrs; long prompts take shorter steps the more slack they have, and no two of them share a step."""

    policy: Literal["st"] = "st"
    long_prompt_tokens: int = Field(
        8192,
        ge=1,
        le=MOST_ITEMS,
        description="Beyond so many tokens of it a prompt is long: its steps get shorter with its slack, and no step "
        "holds two of them.",
    )


@QUEUE_ORDERS.register("st", StOptions)
class SpaceTimeSharing(LeastRemainingSlack):
    """Least remaining slack; long prompts take shorter steps the more slack they have, leaving room for others, and two
    chunks that end beyond ``long_prompt_tokens`` of their prompts never share a step.
    """

    sizes_chunks = True

    def __init__(self, options: StOptions, prefix_tokens: PrefixTokens) -> None:
        super().__init__(options, prefix_tokens)
        self._long_prompt_tokens = options.long_prompt_tokens

    def chunk_target_ns(self, sequence: Sequence) -> int:
        """Return the target step time in ns, for a long sequence times 1 - slack ratio clipped to 0..0.5."""
        target = self.deadlines.target_step_ns
        if sequence.computed <= self._long_prompt_tokens:
            return target
        slack = min(0.5, max(0.0, self.key(sequence)))
        return round(target * (1.0 - slack))

    def may_join(self, shape: BatchShape, end: int) -> bool:
        """Whether the chunk or all those in the step end within ``long_prompt_tokens``."""
        long = self._long_prompt_tokens
        return end <= long or all(cached + chunk <= long for chunk, cached in shape.prefills)

    def fit_chunk(self, sequence: Sequence, computed: int, chunk: int, shape: BatchShape) -> int:
        """Return the part of a chunk that fills the target step; 0 next to another long one."""
        target_ns = self.chunk_target_ns(sequence)
        chunk = self.deadlines.chunk_tokens(target_ns, computed, chunk, shape)
        return chunk if self.may_join(shape, computed + chunk) else 0
