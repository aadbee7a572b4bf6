"""NVIDIA Dynamo's KV router: the least prefill still to compute plus blocks held, softened by a temperature.

Source: ai-dynamo/dynamo, lib/llm/src/kv_router/scheduler.rs and sequence.rs.  The cost of a worker is

    overlap_score_weight x prefill blocks + decode blocks

where *prefill blocks* are the prompt tokens that the worker would still have to compute, those of its pending prompts
and those of this one which its cache lacks, over the block size, and *decode blocks* are the distinct blocks of the
prompts that it would hold.  Both are the router's own counts: a prompt is pending until its first token comes, and held
until the request ends.  The lowest cost wins; with a temperature T > 0 worker w is drawn with a probability in
proportion to exp(-cost(w) / (max - min) / T).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cluster_sim.engine.draws import draw_u64, stream_key
from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.kv_events import KvEvents
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.active_blocks import ActiveBlocks
from cluster_sim.routing.policy_parts.prefix_tree import PrefixTree
from cluster_sim.routing.policy_parts.tie_break import TieBreak
from cluster_sim.routing.policy_parts.work_in_flight import WorkInFlight
from cluster_sim.routing.prefix_index.precise import PrecisePrefixIndex
from cluster_sim.serving.kv_cache.content import Content, content_of
from cluster_sim.serving.kv_cache.prefix_ranges import BlockRange, prefix_ranges
from cluster_sim.serving.messages import PrefixSample
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request


class DynamoKvOptions(RouterOptions):
    """Dynamo's KV router: least prefill to compute plus blocks held; observes first tokens and when requests end."""

    policy: Literal["dynamo_kv"] = Field("dynamo_kv", description="Dynamo's KV-aware cost.")
    overlap_score_weight: float = Field(1.0, ge=0, le=1e6, description="Weight of the prefill still to compute.")
    temperature: float = Field(
        0.0, ge=0, le=1e6, description="Softness of the choice over normalised costs; 0 takes the lowest."
    )
    kv_events: KvEvents | None = Field(
        None, description="Age of the KV events that tell what caches hold; null: by what was sent within `ttl_s`."
    )
    ttl_s: float = Field(
        120.0,
        gt=0,
        le=LONGEST_RUN_S,
        description="Without KV events: time that a prompt sent to a worker is taken to be in its cache.",
    )


@ROUTING_POLICIES.register("dynamo_kv", DynamoKvOptions)
class DynamoKv(RoutingPolicy):
    """The candidate of the least cost."""

    observes_responses: ClassVar = True
    observes_first_tokens: ClassVar = True

    def __init__(self, options: DynamoKvOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._weight = options.overlap_score_weight
        self._temperature = options.temperature
        self._held = PrecisePrefixIndex(candidates.count) if options.kv_events is not None else None
        """What caches hold by their KV events; None without them."""
        if options.kv_events is not None:
            self.observation = replace(self.observation, grids=(options.kv_events.grid(),))
        self._tree = PrefixTree(round(options.ttl_s * NS_PER_S))
        self._pending = WorkInFlight(candidates.count)
        self._active = ActiveBlocks(candidates.count)
        self._key = stream_key(candidates.seed, "router", "softmax")
        self._ties = TieBreak(candidates.seed, takes_first=options.ties == "first")

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the chosen position, and count the request there."""
        members = self.candidates.members
        positions = range(len(members)) if eligible is None else eligible
        prompt = request.prompt_tokens
        content = content_of(request)
        found = self._sent(content, prompt, now_ns)
        ranges: dict[int, list[BlockRange]] = {}
        held: dict[int, NDArray[np.int64]] = {}
        costs: list[float] = []
        uncached: list[int] = []
        for position in positions:
            size = members[position].block_size
            if size not in ranges:
                ranges[size] = prefix_ranges(content, prompt, size)
                if self._held is not None:
                    held[size] = self._held.matched_blocks(ranges[size])
            blocks = int(held[size][position]) if held else found.get(position, 0) // size
            tokens = prompt - blocks * size
            prefill_blocks = (self._pending.amounts[position] + tokens) / size
            decode_blocks = self._active.blocks[position] + self._active.more(position, ranges[size])
            costs.append(self._weight * prefill_blocks + decode_blocks)
            uncached.append(tokens)
        index = self._drawn(request.request_id, costs)
        chosen = positions[index]
        self._pending.add(chosen, request.request_id, uncached[index])
        self._active.add(chosen, request.request_id, ranges[members[chosen].block_size])
        if self._held is None:
            self._tree.insert(content, prompt, chosen, now_ns)
        return chosen

    def _sent(self, content: Content, prompt: int, now_ns: int) -> dict[int, int]:
        """Return how many tokens of a prompt each position was sent of late; nothing with KV events."""
        if self._held is not None:
            return {}
        self._tree.expire(now_ns)
        return self._tree.matches(content, prompt)

    def _drawn(self, request_id: int, costs: list[float]) -> int:
        """Return the index of the lowest cost, or one drawn by the temperature."""
        least, most = min(costs), max(costs)
        if self._temperature == 0 or least == most:
            return self._ties.least(range(len(costs)), costs, request_id)
        scale = (most - least) * self._temperature
        weights = [math.exp((least - cost) / scale) for cost in costs]
        drawn = draw_u64(self._key, request_id) / 2**64 * sum(weights)
        index = 0
        while index < len(weights) - 1 and drawn >= weights[index]:
            drawn -= weights[index]
            index += 1
        return index

    def on_join(self, position: int) -> None:
        """Start its counts at none."""
        self._pending.grow(position + 1)
        self._active.grow(position + 1)
        if self._held is not None:
            self._held.on_join()

    def on_prefixes(self, position: int, sample: PrefixSample) -> None:
        """Take what a cache has got and lost."""
        if self._held is not None:
            self._held.update(position, sample.changes)

    def on_leave(self, position: int) -> None:
        """Forget its cache."""
        self._tree.remove(position)
        if self._held is not None:
            self._held.forget(position)

    def on_first_token(self, position: int, request: Request) -> None:
        """Count the prompt as computed."""
        self._pending.remove(position, request.request_id)

    def on_end(self, position: int, request: Request) -> None:
        """Count the request no longer."""
        self._pending.remove(position, request.request_id)
        self._active.remove(position, request.request_id)
