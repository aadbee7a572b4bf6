"""A batch: what a scheduler formed, and where the pipeline put it."""

from cluster_sim.hardware.predictor import BatchShape
from cluster_sim.serving.sequence import Sequence


class Batch:
    """One engine step.

    ``completed``: sequences whose prefill ends here, so that they emit a token.  ``finishing``: sequences whose last
    token this is.  ``steady_decodes``: decodes whose previous token came with the previous batch of their pool;
    ``gap_starts_ns``: the times of the previous token of every other decode.  ``members``: every sequence of the batch,
    kept only where a sequence may be in one batch at a time.
    """

    __slots__ = (
        "accepted_tokens",
        "completed",
        "delay_ns",
        "end_ns",
        "finishing",
        "formed_ns",
        "gap_starts_ns",
        "members",
        "number",
        "preempted",
        "prefilled",
        "shape",
        "start_ns",
        "steady_decodes",
        "steady_from_ns",
    )

    def __init__(self, shape: BatchShape) -> None:
        self.shape = shape
        self.number = 0
        self.formed_ns = 0
        self.delay_ns = 0
        """How long the batch waits before its first stage can start (drafting, loading an adapter)."""
        self.accepted_tokens = 0
        """Tokens beyond one per decode that verified drafts yield."""
        self.start_ns = 0
        self.end_ns = 0
        self.completed: list[Sequence] = []
        self.finishing: list[Sequence] = []
        self.prefilled: list[tuple[Sequence, int]] = []
        """(sequence, chunk tokens) of every prefill in batch order."""
        self.preempted: list[Sequence] = []
        self.members: list[Sequence] = []
        self.steady_decodes = 0
        self.steady_from_ns = 0
        self.gap_starts_ns: list[int] = []
