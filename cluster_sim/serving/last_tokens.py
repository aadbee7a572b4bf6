"""Times of last tokens: of single sequences, of decode pools, and of the decodes of one batch.

The time of a token is the end of its batch, known when the batch is scheduled; the gap to the sequence's previous token
is an inter-token latency.  Members of a decode pool get their tokens together, so the pool keeps one time for all.
Those that have joined it or missed a step since then are *unsynchronised*: their own ``last_token_ns`` counts.
"""

from collections.abc import Collection, Iterable

from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.first_token_note import note_first_token
from cluster_sim.serving.sequence import Sequence


def set_last_tokens(completed: Iterable[Sequence], decodes: Iterable[Sequence], end_ns: int) -> None:
    """Note that prompts that are completed and decodes get a token at ``end_ns``."""
    for sequence in completed:
        sequence.last_token_ns = end_ns
    for sequence in decodes:
        sequence.last_token_ns = end_ns


class TokenGaps:
    """Times of the previous tokens of a batch's decodes: ``pooled`` of them came at ``since_ns``, the others apart."""

    __slots__ = ("others_ns", "pooled", "since_ns")

    def __init__(self) -> None:
        self.pooled = 0
        self.since_ns = 0
        self.others_ns: list[int] = []

    def add(self, sequence: Sequence) -> None:
        """Count one decode."""
        self.others_ns.append(sequence.last_token_ns)

    def merge(self, gaps: "TokenGaps") -> None:
        """Count the decodes of another batch that runs beside this one; their previous tokens may have come before."""
        self.others_ns += gaps.others_ns
        if not self.pooled:
            self.since_ns = gaps.since_ns
        if gaps.since_ns == self.since_ns:
            self.pooled += gaps.pooled
        else:
            self.others_ns += [gaps.since_ns] * gaps.pooled

    def record(
        self,
        log: ReplicaLog,
        end_ns: int,
        prompt_tokens: int,
        generated_tokens: int,
        completed: Collection[Sequence] = (),
    ) -> None:
        """Record a step that ends at ``end_ns``, with the gaps of its decodes, the first tokens of ``completed``
        prompts, and the gaps of those that are the first since a preemption.
        """
        prefilled_tokens = 0
        for sequence in completed:
            if sequence.last_token_ns < 0:
                prefilled_tokens += note_first_token(log, sequence, end_ns)
        gap_ns = end_ns - self.since_ns if self.pooled else 0
        log.step(end_ns, gap_ns, self.pooled, prompt_tokens, generated_tokens, prefilled_tokens)
        for previous_ns in self.others_ns:
            log.gap(end_ns - previous_ns)
        for sequence in completed:
            if sequence.last_token_ns >= 0:
                log.gap(end_ns - sequence.last_token_ns)


class LastTokens:
    """When the members of a decode pool got their last tokens."""

    __slots__ = ("time_ns", "unsynchronised")

    def __init__(self) -> None:
        self.time_ns = -1
        """When the tokens of the pool's last step came."""
        self.unsynchronised: list[Sequence] = []
        """Members whose last token did not come then."""

    def gather(self, sequences: Collection[Sequence]) -> None:
        """Start with sequences that have got a token each, some of them before the others."""
        self.time_ns = max(sequence.last_token_ns for sequence in sequences)
        self.unsynchronised = [sequence for sequence in sequences if sequence.last_token_ns != self.time_ns]

    def synchronise(self, time_ns: int) -> None:
        """Note that the pool's last step ends at ``time_ns``; some of its newest members got their own tokens then."""
        self.time_ns = time_ns
        if self.unsynchronised:
            self.unsynchronised = [sequence for sequence in self.unsynchronised if sequence.last_token_ns != time_ns]

    def remove(self, sequence: Sequence) -> None:
        """Forget a member that leaves, and give it its own time again."""
        if sequence in self.unsynchronised:
            self.unsynchronised.remove(sequence)
        else:
            sequence.last_token_ns = self.time_ns

    def write_back(self, sequences: Iterable[Sequence]) -> None:
        """Give every member its own time again."""
        late = {sequence.key for sequence in self.unsynchronised}
        for sequence in sequences:
            if sequence.key not in late:
                sequence.last_token_ns = self.time_ns

    def are_all_at(self, time_ns: int) -> bool:
        """Return whether every member's last token came at ``time_ns``."""
        return self.time_ns == time_ns and not self.unsynchronised

    def gaps(self, members: int) -> TokenGaps:
        """Return the times of the previous tokens of a batch that decodes all ``members`` members."""
        gaps = TokenGaps()
        self.fill(gaps, members)
        return gaps

    def fill(self, gaps: TokenGaps, members: int) -> None:
        """Count all ``members`` members in the gaps of a batch that has no other decodes."""
        gaps.pooled = members - len(self.unsynchronised)
        gaps.since_ns = self.time_ns
        if self.unsynchronised:
            gaps.others_ns = [sequence.last_token_ns for sequence in self.unsynchronised]
