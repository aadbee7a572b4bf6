"""A batch: the sequences that a scheduler chose for one engine step, and when the step runs."""

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.serving.last_tokens import TokenGaps
from cluster_sim.serving.sequence import Sequence


class Batch:
    """One engine step.

    ``completed``: sequences whose prefill ends here, so that they emit a token.  ``finishing``: sequences whose last
    token this is.  ``prefilled``: (sequence, chunk tokens) of every prefill in batch order.  ``members``: the decodes,
    except those of a decode pool.  ``gaps``: when the previous tokens of all decodes came.
    """

    number = 0
    scheduled_ns = 0
    start_ns = 0
    end_ns = 0
    delay_ns = 0
    """How long the batch waits before its first stage can start (drafting, loading an adapter)."""
    unbatched_preemptions = 0
    """Preemptions in ranks that have no part in this joint batch."""
    unbatched_ranks: tuple[tuple[int, int], ...] = ()
    """Those preemptions by rank."""
    parts: tuple[tuple[int, "Batch"], ...] = ()
    """The ranks' own batches of a joint batch, by the rank's number."""
    resumed: tuple[Sequence, ...] = ()
    """Decodes that come back from a preemption with all that they had computed."""
    accepted_tokens = 0
    """Tokens beyond one per decode that verified drafts yield."""
    verified: tuple[int, ...] = ()
    """How many drafts of each decode that has some prove right."""

    def __init__(self, shape: BatchShape) -> None:
        self.shape = shape
        self.completed: list[Sequence] = []
        self.finishing: list[Sequence] = []
        self.prefilled: list[tuple[Sequence, int]] = []
        self.preempted: list[Sequence] = []
        self.members: list[Sequence] = []
        self.gaps = TokenGaps()

    def decode(self, sequence: Sequence, tokens: int) -> None:
        """Put a decode into the batch that yields ``tokens`` tokens, and move the sequence's counters."""
        shape = self.shape
        shape.decodes += 1
        shape.decode_kv_tokens += sequence.computed
        self.members.append(sequence)
        self.gaps.add(sequence)
        sequence.computed += tokens
        sequence.generated += tokens
        if sequence.generated == sequence.output_tokens:
            self.finishing.append(sequence)

    def prefill(self, sequence: Sequence, chunk: int, prefilling: dict[int, Sequence]) -> bool:
        """Put ``chunk`` tokens of a sequence into the batch, move its counters, and return whether they were its last.

        ``prefilling`` holds, by key, the sequences whose known tokens are not computed yet, and is kept so.
        """
        shape = self.shape
        shape.prefills.append((chunk, sequence.computed))
        self.prefilled.append((sequence, chunk))
        computed = sequence.computed = sequence.computed + chunk
        if computed < sequence.prompt_tokens + sequence.generated:
            prefilling[sequence.key] = sequence
            return False
        prefilling.pop(sequence.key, None)
        shape.completed_prefills += 1
        self.completed.append(sequence)
        sequence.generated += 1
        if sequence.generated == sequence.output_tokens:
            self.finishing.append(sequence)
        return True

    def remove(self, victim: Sequence) -> None:
        """Take a sequence out of the batch, but leave its ``computed`` tokens, all of which it loses anyway."""
        shape = self.shape
        if victim in self.members:
            index = self.members.index(victim)
            del self.members[index]
            del self.gaps.others_ns[index]
            shape.decodes -= 1
            shape.decode_kv_tokens -= victim.computed - 1
        else:
            index = next(index for index, (sequence, _) in enumerate(self.prefilled) if sequence is victim)
            del self.prefilled[index]
            del shape.prefills[index]
            if victim not in self.completed:
                return
            self.completed.remove(victim)
            shape.completed_prefills -= 1
        victim.generated -= 1
        if victim in self.finishing:
            self.finishing.remove(victim)
