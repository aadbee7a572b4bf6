"""Long prompts while the prefill queue is short (Dynamo's disaggregated router in its older form).

ai-dynamo/dynamo, disagg_router: remote if the prompt less what is cached at the decode worker is longer than
max_local_prefill_length and the prefill queue is shorter than max_prefill_queue_size.  No objective is read.
"""

from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.handover.decider_interface import DECIDERS, Decider, DeciderOptions, Situation


class QueueLengthOptions(DeciderOptions):
    """Requests with much to compute, while few prompts wait for a prefill replica."""

    kind: Literal["queue_length"] = Field("queue_length", description="By what is to compute and the prefill queue.")
    max_local_prefill_length: int = Field(
        1000, ge=0, le=1 << 40, description="Most uncached tokens of a prompt that the decode replica computes itself."
    )
    max_prefill_queue_size: int = Field(
        2, ge=0, le=1 << 40, description="Length of the prefill queue from which on nothing is added to it."
    )


@DECIDERS.register("queue_length", QueueLengthOptions)
class QueueLength(Decider):
    """Dynamo's conditional disaggregation."""

    reads_cache: ClassVar = True
    reads_queue: ClassVar = True

    def __init__(self, options: QueueLengthOptions) -> None:
        super().__init__(options)
        self._local_tokens = options.max_local_prefill_length
        self._queue_size = options.max_prefill_queue_size

    def hands_over(self, situation: Situation) -> bool:
        """Return whether the prompt is long and the queue short."""
        return situation.uncached_tokens > self._local_tokens and situation.queued_prefills < self._queue_size
