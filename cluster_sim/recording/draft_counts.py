"""Counts of speculative decoding: drafts, their tokens, and how many of these proved right, by position."""

from collections.abc import Iterable
from typing import Final

POSITIONS: Final = 16
"""Positions of a draft that are counted apart."""


class DraftCounts:
    """Drafts of one replica.  ``accepted_by_position`` counts those whose token at a position proved right."""

    __slots__ = ("accepted_by_position", "accepted_tokens", "draft_tokens", "drafts")

    def __init__(self) -> None:
        self.drafts = 0
        self.draft_tokens = 0
        self.accepted_tokens = 0
        self.accepted_by_position = [0] * POSITIONS

    def add(self, draft_tokens: int, accepted: Iterable[int]) -> None:
        """Count the drafts of a batch, of so many tokens together, by how many tokens of each proved right."""
        self.draft_tokens += draft_tokens
        for tokens in accepted:
            self.drafts += 1
            self.accepted_tokens += tokens
            for position in range(min(tokens, POSITIONS)):
                self.accepted_by_position[position] += 1
