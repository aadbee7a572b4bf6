"""vLLM before its v1 engine, as Vidur models it: whole prompts first, and never prompts and decodes in one batch."""

from cluster_sim.config.engine import Engine
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.schedulers.base import SCHEDULERS, Scheduler, SchedulerLimits
from cluster_sim.serving.schedulers.serial import SerialScheduler


class VllmV0(SerialScheduler):
    """Prefill batches whenever the head of the queue fits, else one decode of every running sequence.

    The batch's token limit counts padding: prompts times the longest of them.  A decode needs a free block even when
    its last block has room.
    """

    def choose(self, batch: Batch, now_ns: int) -> None:
        """Fill the batch; see the class."""
        self._prefill(batch, now_ns)
        if not batch.prefilled:
            self._decode(batch)

    def is_steady(self, decodes: int) -> bool:
        """Whether all decodes fit one batch and the waiting queue's head stays refused."""
        if decodes > self.batch_limit:
            return False
        if not self.waiting or len(self.blocks_of) >= self.holder_limit:
            return True
        if self.is_reordered:
            return False
        head = self.waiting[0].known_tokens
        is_short = self.free_blocks - self.blocks_for(head) < self.watermark_blocks
        return is_short or head > self.limits.max_num_batched_tokens

    def _prefill(self, batch: Batch, now_ns: int) -> None:
        waiting = self.waiting
        longest = 0
        while waiting:
            sequence = waiting[0]
            blocks = self.blocks_for(sequence.known_tokens)
            if self.free_blocks - blocks < self.watermark_blocks:
                break
            longest = max(longest, sequence.known_tokens)
            if (len(batch.prefilled) + 1) * longest > self.limits.max_num_batched_tokens:
                break
            if len(self.blocks_of) >= self.holder_limit or len(batch.prefilled) >= self.batch_limit:
                break
            self.admit(sequence, now_ns)
            self.allocate(sequence, blocks)
            self.prefill(batch, sequence, sequence.known_tokens)

    def _decode(self, batch: Batch) -> None:
        running = self.running
        running.sort(key=lambda each: each.request.arrival_ns)
        taken = 0
        while taken < len(running) and len(batch.members) < self.batch_limit:
            sequence = running[taken]
            taken += 1
            if self.free_blocks < 1:
                # The victims are behind the sequences already taken.
                self.running = running[taken:]
                has_room = self.make_room(batch, sequence)
                running = self.running
                taken = 0
                if not has_room:
                    continue
            self.grow(sequence)
            self.decode(batch, sequence)
        self.running = running[taken:]


@SCHEDULERS.register("vllm_v0")
def build_vllm_v0(engine: Engine, limits: SchedulerLimits) -> Scheduler:
    """Build the vLLM v0 scheduler."""
    return VllmV0(engine, limits)
