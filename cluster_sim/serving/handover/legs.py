"""Legs of hand-overs at one scheduler.

A prefill leg is an ordinary sequence of one output token until its last step ends; then its blocks are *held*.  A
decode leg waits like any other until blocks for its whole prompt are free, takes them without computing anything
(*granted*), leaves the queue while they are filled (*loading*), and joins the running sequences when that is done
(*arrived*).  Those that have arrived go before all that wait: what they need is theirs already, so they can never wait
for each other.
"""

from collections import deque
from typing import Final

from cluster_sim.serving.sequence import Sequence


class Leg:
    """What a scheduler does with a sequence that is handed over."""

    WHOLE: Final = 0
    """Nothing special: prompt and output are computed here, or the hand-over is behind it."""
    PREFILL: Final = 1
    """Its prompt is computed here for another replica."""
    WANTING: Final = 2
    """It waits for blocks for its prompt."""
    LOADING: Final = 3
    """Its blocks are being filled."""
    ARRIVED: Final = 4
    """Its blocks are filled; it waits for a slot."""


class Legs:
    """The legs that are out of the scheduler's own lists, and what it has to report of them."""

    def __init__(self) -> None:
        self.held: dict[int, Sequence] = {}
        """Computed prompts whose blocks are kept, by the sequence's key."""
        self.loading: dict[int, Sequence] = {}
        self.arrived: deque[Sequence] = deque()
        self.has_prefill = False
        """Whether any prompt has been computed for another replica."""
        self.wanting = 0
        """Sequences of the waiting queue that want blocks for a prompt computed elsewhere."""

    @property
    def waiting_count(self) -> int:
        """Sequences outside the waiting queue that wait."""
        return len(self.loading) + len(self.arrived)

    def want(self, sequence: Sequence) -> None:
        """Count a sequence that enters the waiting queue for blocks."""
        sequence.leg = Leg.WANTING
        self.wanting += 1

    def grant(self, sequence: Sequence) -> None:
        """Note that a sequence has its blocks, and has left the waiting queue."""
        sequence.leg = Leg.LOADING
        self.wanting -= 1
        self.loading[sequence.key] = sequence

    def arrive(self, key: int) -> Sequence | None:
        """Note that a sequence's blocks are filled; None if it has been cancelled."""
        sequence = self.loading.pop(key, None)
        if sequence is not None:
            sequence.leg = Leg.ARRIVED
            self.arrived.append(sequence)
        return sequence

    def start(self) -> Sequence:
        """Take the first of those that have arrived, which gets a slot; from now on it is like any other."""
        sequence = self.arrived.popleft()
        sequence.leg = Leg.WHOLE
        return sequence

    def remove(self, key: int) -> Sequence | None:
        """Forget a sequence that is loading or has arrived; return it, for its blocks."""
        sequence = self.loading.pop(key, None)
        if sequence is None:
            sequence = next((arrived for arrived in self.arrived if arrived.key == key), None)
            if sequence is not None:
                self.arrived.remove(sequence)
        return sequence

    def fewest_left(self) -> int:
        """Return the fewest tokens that a sequence which has arrived must still yield; 0 if there is none."""
        return min((sequence.output_tokens - sequence.generated for sequence in self.arrived), default=0)
