"""A scheduler on the bench: driven by hand, one batch at a time."""

from cluster_sim.serving.batch import Batch
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.sequence import Sequence
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes, Request

S = 1_000_000_000


class SchedulerBench:
    """Every batch takes 1 s and starts when the one before has ended."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.now_s = 0

    def add(self, request_id: int, prompt: int, output: int, attributes: Attributes = NO_ATTRIBUTES) -> Sequence:
        """Let a request arrive now, at equal times ordered by id."""
        request = Request(request_id, self.now_s * S + request_id, prompt, output, attributes)
        sequence = Sequence(request, 0, 0)
        self.scheduler.add(sequence)
        return sequence

    def schedule(self) -> Batch | None:
        """Form a batch and leave it running."""
        batch = self.scheduler.schedule(self.now_s * S)
        if batch is not None:
            self.now_s += 1
            batch.end_ns = self.now_s * S
            self.scheduler.on_scheduled(batch)
        return batch

    def step(self) -> str:
        """Form and end one batch; return it as ``shown`` does, empty when none was formed."""
        batch = self.schedule()
        if batch is None:
            return ""
        self.scheduler.complete(batch)
        return shown(batch)

    def steps(self, count: int) -> list[str]:
        """Form and end ``count`` batches."""
        return [self.step() for _ in range(count)]


def shown(batch: Batch) -> str:
    """Return a batch's composition as "d: decoding ids p: id*chunk ..."."""
    decodes = "".join(str(each.request_id) for each in batch.members)
    prefills = " ".join(f"{each.request_id}*{chunk}" for each, chunk in batch.prefilled)
    return f"d:{decodes} p:{prefills}"
