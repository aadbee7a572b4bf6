"""Candidates: the replicas of one model as its routing policy knows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class StepFigures(NamedTuple):
    """Durations by which latencies at a replica can be estimated, in ns."""

    step_ns: float
    """A decode step, without what each request adds."""
    request_ns: float
    """What each request of the batch adds."""
    token_ns: float
    """A token of a long prompt."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What stays the same about a replica while it lives."""

    replica: int
    """Its number in the fleet, from 0."""
    pool: str = ""
    role: str = ""
    """What its pool is for (prefill, decode, both ...); empty where the study does not say."""
    labels: Mapping[str, str] = field(default_factory=dict)
    rank: int = -1
    """Of the replica's data-parallel ranks, where each is a candidate; -1 is the whole replica."""
    site: str = ""
    max_model_len: int = 0
    kv_blocks: int = 0
    block_size: int = 1
    max_num_seqs: int = 0
    lora_slots: int = 0
    usd_per_hour: float = 0.0
    """Price of all its GPUs; 0 where no price is known."""
    step_figures: StepFigures | None = None
    """None where nobody has worked them out."""


class Candidates:
    """The replicas that a policy chooses among, by position, and its seed.

    Positions are given in the order of joining and never again.
    """

    __slots__ = ("forward_ns", "members", "seed")

    def __init__(
        self, count: int, seed: int, forward_ns: Sequence[int], members: Sequence[Candidate] | None = None
    ) -> None:
        """``forward_ns`` is the link latency to each of ``count`` candidates; without ``members`` all are alike."""
        self.seed = seed
        self.forward_ns = list(forward_ns)
        self.members = list(members) if members is not None else [Candidate(position) for position in range(count)]
        assert len(self.forward_ns) == len(self.members) == count

    @property
    def count(self) -> int:
        """Candidates so far, those that have left included."""
        return len(self.members)

    def add(self, candidate: Candidate, forward_ns: int) -> int:
        """Add a replica that joins; return its position."""
        self.members.append(candidate)
        self.forward_ns.append(forward_ns)
        return len(self.members) - 1
