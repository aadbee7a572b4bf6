"""FasterTransformer: static batches that run until their last sequence has finished."""

from collections import deque
from dataclasses import replace
from typing import Literal

from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import EngineSettings, default_settings
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import ENGINES
from cluster_sim.serving.schedulers.serial import SerialScheduler
from cluster_sim.serving.schedulers.vidur_options import VidurOptions
from cluster_sim.serving.sequence import Sequence


class FasterTransformerOptions(VidurOptions):
    """A static batch to its end."""

    kind: Literal["faster_transformer"] = "faster_transformer"

    def pinned_settings(self, device: Device) -> EngineSettings:
        """Return Vidur's slots."""
        return replace(default_settings(device), max_num_seqs=128)


@ENGINES.register("faster_transformer", FasterTransformerOptions)
class FasterTransformer(SerialScheduler):
    """Up to ``max_num_seqs`` sequences start together; who finishes early leaves the compute but keeps its memory.

    Vidur frees only the sequences that are left when a static batch ends, so early finishers leak; ``vidur_compat``
    reproduces that.
    """

    reserves_whole = True
    reserves_longest = True
    has_static_batches = True

    def __init__(self, engine: FasterTransformerOptions, limits: SchedulerLimits) -> None:
        super().__init__(engine, limits)
        self._reserved_blocks = max(1, limits.max_model_len // limits.block_size)
        self._ready: deque[list[Sequence]] = deque()
        """Static batches between two steps: all their sequences, finished ones included."""
        self._groups_in_flight: dict[int, list[Sequence]] = {}
        """Static batches by the number of the engine step they are in."""

    def fill_batch(self, batch: Batch, now_ns: int) -> None:
        """Fill the batch; see the class."""
        if self._ready:
            group = self._ready.popleft()
            for sequence in group:
                if sequence.generated < sequence.output_tokens:
                    batch.decode(sequence, 1)
        else:
            group = []
            while len(group) < self.limits.max_num_seqs and self.has_candidate(batch):
                if self.free_blocks < self._reserved_blocks:
                    break
                sequence = self.queue.head
                self.admit(sequence, now_ns)
                self.allocate(sequence, self._reserved_blocks)
                batch.prefill(sequence, sequence.known_tokens, self.prefilling)
                group.append(sequence)
        if group:
            self._groups_in_flight[batch.number] = group

    def is_uniform(self, decodes: int) -> bool:
        """Whether one static batch is all there is: it goes on by itself."""
        return decodes > 0 and len(self._ready) == 1

    def ready_decodes(self) -> list[Sequence]:
        """Return the unfinished sequences of the static batch that is next."""
        return (
            [sequence for sequence in self._ready[0] if sequence.generated < sequence.output_tokens]
            if self._ready
            else []
        )

    def put_back(self, sequences: list[Sequence]) -> None:
        """Do nothing: the static batch has kept them."""

    def complete(self, batch: Batch) -> None:
        """Take the batch's sequences back in batch order."""
        if not batch.members and not batch.prefilled:  # The end of uniform steps.
            for sequence in batch.finishing:
                self.forget(sequence)
            if not self._pool.members:
                for sequence in batch.finishing if self.is_vidur else self._ready[0]:
                    self.free(sequence)
                self._ready.popleft()
            return
        group = self._groups_in_flight.pop(batch.number)
        stepped = [*batch.members, *(sequence for sequence, _ in batch.prefilled)]
        for sequence in stepped:
            self.leave_batch(sequence)
        if any(sequence.generated < sequence.output_tokens for sequence in group):
            self._ready.append(group)
            return
        for sequence in stepped if self.is_vidur else group:
            self.free(sequence)

    def has_work(self) -> bool:
        """Whether a static batch is ready or may be started."""
        return bool(self._ready or self.waiting)

    def fewest_batches(self) -> int:
        """Return the least number of tokens that any sequence still has to yield."""
        lefts = [sequence.output_tokens - sequence.generated for group in self._ready for sequence in group]
        return min((left for left in (*lefts, super().fewest_batches()) if left > 0), default=0)

    def cancel(self, key: int) -> bool:
        """Drop a sequence that waits or whose static batch is between two steps."""
        self.dissolve_pool()
        for group in self._ready:
            for sequence in group:
                if sequence.key == key and sequence.generated < sequence.output_tokens:
                    sequence.output_tokens = sequence.generated
                    if all(sequence.generated >= sequence.output_tokens for sequence in group):
                        self._ready.remove(group)
                        for member in group:
                            self.free(member)
                    return True
        return super().cancel(key)
