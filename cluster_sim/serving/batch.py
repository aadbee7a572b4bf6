"""A batch: what a scheduler formed, and where the pipeline put it."""

from cluster_sim.hardware.predictor import BatchShape
from cluster_sim.serving.sequence import Sequence


class Batch:
    """One engine step.

    ``completed``: sequences whose prefill ends here, so that they emit a token.  ``finishing``: sequences whose last
    token this is.  ``prefilled``: (sequence, chunk tokens) of every prefill in batch order.  ``steady_decodes``:
    decodes whose previous token came at ``steady_from_ns``, with the previous batch of their pool; ``gap_starts_ns``:
    the times of the previous token of every other decode, and ``members`` those decodes.
    """

    number = 0
    formed_ns = 0
    start_ns = 0
    end_ns = 0
    delay_ns = 0
    """How long the batch waits before its first stage can start (drafting, loading an adapter)."""
    unbatched_preemptions = 0
    """Preemptions in ranks that have no part in this joint batch."""
    accepted_tokens = 0
    """Tokens beyond one per decode that verified drafts yield."""
    steady_decodes = 0
    steady_from_ns = 0

    def __init__(self, shape: BatchShape) -> None:
        self.shape = shape
        self.completed: list[Sequence] = []
        self.finishing: list[Sequence] = []
        self.prefilled: list[tuple[Sequence, int]] = []
        self.preempted: list[Sequence] = []
        self.members: list[Sequence] = []
        self.gap_starts_ns: list[int] = []
