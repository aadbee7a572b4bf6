"""Scorer of prefixes by the picker's own record of where it sent which prompt.

Source: gateway-api-inference-extension, ``pkg/epp/scheduling/framework/plugins/multi/prefix/plugin.go``.
"""

from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import Field

from cluster_sim.routing.candidates import Candidate
from cluster_sim.routing.endpoint_picker.decision import Decision, Selection
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import SCORERS, PartContext, PartOptions, Scorer
from cluster_sim.routing.prefix_index.approximate import ApproximatePrefixIndex

CHARACTERS_PER_TOKEN: Final = 4
"""llm-d's own estimate, for block sizes in characters."""
UNKNOWN_CAPACITY: Final = 31_250
"""Blocks that are remembered for a server that does not tell how many it has."""
UNKNOWN_BLOCK_SIZE: Final = 16


class PrefixCacheOptions(PartOptions):
    """Longest prefix that the picker has sent there: matched blocks over blocks of the prompt, by its own record."""

    type: Literal["prefix-cache-scorer"] = "prefix-cache-scorer"
    auto_tune: bool | None = Field(
        None,
        description="Whether block size and capacity are those of the engines: true before, false only behind the "
        "values of the file; without it the engines' values fill what the file leaves out.",
    )
    block_size_tokens: int | None = Field(None, ge=1, le=1 << 20, description="Tokens of a block.")
    block_size: int | None = Field(
        None, ge=1, le=1 << 24, description="Characters of a block, four a token; counts with autoTune: false."
    )
    hash_block_size: int | None = Field(None, ge=1, le=1 << 24, description="Older name of blockSize.")
    max_prefix_blocks_to_match: int = Field(
        256, ge=1, le=1 << 30, description="First blocks of a prompt that are matched and recorded."
    )
    lru_capacity_per_server: int | None = Field(
        None, ge=1, le=1 << 40, description="Blocks remembered for each server; its KV blocks if absent."
    )

    def tokens_per_block(self, engine_block_size: int) -> int:
        """Return the tokens of a block, given those of the engines' blocks; 0 if these are unknown."""
        if self.auto_tune and engine_block_size:
            return engine_block_size
        if self.block_size_tokens:
            return self.block_size_tokens
        characters = self.block_size or self.hash_block_size
        if characters and (self.auto_tune is False or not engine_block_size):
            return max(1, characters // CHARACTERS_PER_TOKEN)
        return engine_block_size or UNKNOWN_BLOCK_SIZE

    def capacity_of(self, member: Candidate) -> int:
        """Return how many blocks are remembered for an endpoint."""
        if self.lru_capacity_per_server is not None and not (self.auto_tune and member.kv_blocks):
            return self.lru_capacity_per_server
        return UNKNOWN_CAPACITY if self.auto_tune is False else member.kv_blocks or UNKNOWN_CAPACITY


@SCORERS.register("prefix-cache-scorer", PrefixCacheOptions)
class PrefixCacheScorer(Scorer):
    """The longer the prefix that was sent there, the better."""

    finds_prefixes: ClassVar = True

    def __init__(self, options: PrefixCacheOptions, context: PartContext) -> None:
        super().__init__(context)
        members = context.endpoints.members
        self._options = options
        self._endpoints = context.endpoints
        engine_block_size = members[0].block_size if members and members[0].kv_blocks else 0
        self.block_size = options.tokens_per_block(engine_block_size)
        self._most_blocks = options.max_prefix_blocks_to_match
        self._index = ApproximatePrefixIndex([options.capacity_of(member) for member in members])

    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return the share of the prompt's blocks that each endpoint matches."""
        matched = decision.endpoints.of(positions, self.matched_blocks(decision))
        result: Scores = matched / max(1, self.prompt_blocks(decision))
        return result

    def matched_blocks(self, decision: Decision) -> Positions:
        found = decision.findings.get(self.name)
        if found is None:
            ranges = decision.prompt_ranges(self.block_size, self._most_blocks, counts_partial=True)
            found = decision.findings[self.name] = self._index.matched_blocks(ranges)
        assert isinstance(found, np.ndarray)
        return found

    def prompt_blocks(self, decision: Decision) -> int:
        return -(-decision.request.prompt_tokens // self.block_size)

    def uncached_tokens(self, decision: Decision) -> Positions:
        cached = self.matched_blocks(decision) * self.block_size
        result: Positions = np.maximum(0, decision.request.prompt_tokens - cached)
        return result

    def uncached_at(self, decision: Decision, position: int) -> int:
        cached = int(self.matched_blocks(decision)[position]) * self.block_size
        return max(0, decision.request.prompt_tokens - cached)

    def on_chosen(self, decision: Decision, selection: Selection) -> None:
        """Record the prompt where it is computed, and where it is decoded."""
        ranges = decision.prompt_ranges(self.block_size, self._most_blocks, counts_partial=True)
        for position in selection.positions:
            self._index.record(position, ranges)

    def on_join(self, position: int) -> None:
        self._index.on_join(self._options.capacity_of(self._endpoints.members[position]))

    def on_leave(self, position: int) -> None:
        self._index.forget(position)
