"""Pipeline stages as deterministic servers of one ordered stream.

A stage starts a batch at max(arrival, free) and ends it one step later; the batch then travels to the next stage.  Step
times are pure functions of the batch, so a replica runs the whole recurrence when it forms a batch and never waits.
Stage actors, where they exist, receive the same stream one way and check that they come to the same times.
"""

from array import array

from cluster_sim.hardware.predictor import BatchShape, Predictor


class Pipeline:
    """The stages of one replica."""

    def __init__(self, predictor: Predictor, is_streamed: bool = False) -> None:
        self._predictor = predictor
        self._stages = predictor.stages
        self.free_ns = [0] * self._stages
        """When each stage has finished all it was given."""
        self.busy_ns = [0] * self._stages
        self._stream: array[int] | None = array("q") if is_streamed else None

    @property
    def stages(self) -> int:
        """Number of stages."""
        return self._stages

    def run(self, shape: BatchShape, formed_ns: int) -> tuple[int, int]:
        """Send a batch formed at ``formed_ns`` through every stage; return (start of the first, end of the last)."""
        predictor = self._predictor
        if self._stages == 1 and self._stream is None:
            start = max(formed_ns, self.free_ns[0])
            step = predictor.step_ns(shape)
            self.busy_ns[0] += step
            self.free_ns[0] = start + step
            return start, start + step
        arrival = formed_ns
        first_start = -1
        record = [formed_ns]
        for stage in range(self._stages):
            start = max(arrival, self.free_ns[stage])
            if first_start < 0:
                first_start = start
            step = predictor.step_ns(shape, stage)
            end = start + step
            self.busy_ns[stage] += step
            self.free_ns[stage] = end
            link = predictor.stage_link_ns(shape.tokens, stage) if stage + 1 < self._stages else 0
            arrival = end + link
            record += (step, link)
        if self._stream is not None:
            self._stream.extend((*record, end))
        return first_start, end

    def occupy(self, busy_ns: int, end_ns: int) -> None:
        """Note a macro-step of the only stage: ``busy_ns`` of work, the last step ending at ``end_ns``."""
        self.busy_ns[0] += busy_ns
        self.free_ns[0] = end_ns

    def take_stream(self) -> "array[int]":
        """Return and forget the batches since the last call, flat int64: per batch the formation time, (step, link)
        per stage, and the end of the last stage; every batch has 2 + 2 * stages numbers.
        """
        assert self._stream is not None, "the pipeline is not streamed"
        taken, self._stream = self._stream, array("q")
        return taken
