"""Scorer of prefixes that endpoints really hold, as their KV events tell.

Source: llm-d-inference-scheduler, ``pkg/plugins/scorer/precise_prefix_cache.go``, and llm-d-kv-cache-manager.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from cluster_sim.options import ConfigModel
from cluster_sim.routing.endpoint_picker.decision import Decision, Selection
from cluster_sim.routing.endpoint_picker.durations import Duration
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import SCORERS, PartContext, PartOptions, Scorer
from cluster_sim.routing.prefix_index.precise import PrecisePrefixIndex
from cluster_sim.routing.prefix_index.speculative import SpeculativePrefixes


class TokenProcessor(ConfigModel):
    """How prompts are cut into blocks."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, populate_by_name=True)

    block_size: int | None = Field(None, ge=1, le=1 << 20, description="Tokens of a block; the engine's if absent.")


class IndexerConfig(ConfigModel):
    """The index of blocks."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, populate_by_name=True)

    token_processor_config: TokenProcessor = Field(TokenProcessor(), description="Older place of it.")


class PrecisePrefixCacheOptions(PartOptions):
    """Longest prefix that is really there: consecutive blocks held, over the most that any candidate holds."""

    type: Literal["precise-prefix-cache-scorer"] = "precise-prefix-cache-scorer"
    token_processor_config: TokenProcessor = Field(TokenProcessor(), description="How prompts are cut into blocks.")
    indexer_config: IndexerConfig = Field(IndexerConfig(), description="The index of blocks.")
    speculative_indexing: bool = Field(
        True, description="Whether own choices count as held until events arrive or speculativeTTL has passed."
    )
    speculative_ttl: Duration = Field(
        2_000_000_000, alias="speculativeTTL", description="How long an own choice counts without an event."
    )


@SCORERS.register("precise-prefix-cache-scorer", PrecisePrefixCacheOptions)
class PrecisePrefixCacheScorer(Scorer):
    """The longer the prefix that is held there, the better."""

    reads_kv_events: ClassVar = True
    finds_prefixes: ClassVar = True

    def __init__(self, options: PrecisePrefixCacheOptions, context: PartContext) -> None:
        super().__init__(context)
        self._endpoints = context.endpoints
        members = context.endpoints.members
        given = options.token_processor_config.block_size or options.indexer_config.token_processor_config.block_size
        self._block_size = given or (members[0].block_size if members else 1)
        self._held = PrecisePrefixIndex(len(members))
        lifetime_ns = options.speculative_ttl if options.speculative_indexing else 0
        self._sent = SpeculativePrefixes(len(members), lifetime_ns)

    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return the consecutive blocks over the most of any candidate; 0 where none holds any."""
        matched = decision.endpoints.of(positions, self.matched_blocks(decision))
        result: Scores = matched / max(1, matched.max())
        return result

    def matched_blocks(self, decision: Decision) -> Positions:
        found = decision.findings.get(self.name)
        if found is None:
            found = decision.findings[self.name] = self._find(decision)
        assert isinstance(found, np.ndarray)
        return found

    def _find(self, decision: Decision) -> Positions:
        """Return the blocks of the prompt that each endpoint holds, or is trusted to hold."""
        sizes = self._endpoints.block_sizes
        if sizes == [self._block_size]:
            return self._engine_blocks(decision, self._block_size)
        tokens = np.zeros(self._endpoints.count, np.int64)
        for size in sizes:
            tokens += np.where(self._endpoints.block_size == size, self._engine_blocks(decision, size) * size, 0)
        result: Positions = tokens // self._block_size
        return result

    def _engine_blocks(self, decision: Decision, block_size: int) -> Positions:
        """Return the same in blocks of engines, as if all had this size."""
        ranges = decision.prompt_ranges(block_size, 1 << 40, counts_partial=False)
        held, sent = self._held.matched_blocks(ranges), self._sent.matched_blocks(ranges, decision.now_ns)
        result: Positions = np.maximum(held, sent, out=held)
        return result

    def prompt_blocks(self, decision: Decision) -> int:
        return decision.request.prompt_tokens // self._block_size

    def uncached_tokens(self, decision: Decision) -> Positions:
        result: Positions = decision.request.prompt_tokens - self.matched_blocks(decision) * self._block_size
        return result

    def uncached_at(self, decision: Decision, position: int) -> int:
        cached = int(self.matched_blocks(decision)[position]) * self._block_size
        return decision.request.prompt_tokens - cached

    def on_chosen(self, decision: Decision, selection: Selection) -> None:
        """Trust the own choice until events arrive."""
        for position in selection.positions:
            block_size = int(self._endpoints.block_size[position])
            ranges = decision.prompt_ranges(block_size, 1 << 40, counts_partial=False)
            self._sent.record(position, ranges, decision.now_ns)

    def on_kv_events(self, position: int, changes: Sequence[tuple[int, int]]) -> None:
        self._held.update(position, changes)
        for name, end in changes:
            self._sent.confirm(position, name, end)

    def on_join(self, position: int) -> None:
        self._held.on_join()
        self._sent.on_join()

    def on_leave(self, position: int) -> None:
        self._held.forget(position)
        self._sent.forget(position)
