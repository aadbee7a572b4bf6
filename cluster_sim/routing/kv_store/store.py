"""Shared KV store: what replicas have computed, kept outside them for all of them (Mooncake store, LMCache).

Design.  The store's index is state of the router's process, so that no replica's steps depend on another's but by
messages.  A prompt is put into the store when the router learns of its first token, and can be found ``put_ms``
later, from then on for every replica whose KV cache has the same layout.  A dispatch says how many leading tokens
the store holds for it; the replica loads them if that is more than it has itself (``serving.kv_cache.store_tier``).
Writing costs a replica no time, and what is on its way to a replica is not evicted under it.

Chunks are evicted least recently used first, of one prompt the first chunk first, within the capacity that each
layout has.  A layout is what makes KV blocks interchangeable: the model, tensor and pipeline parallelism (every rank
keeps its own shard), and the bytes of a token.

Sources: LMCache (LMCache/LMCache, ``CacheEngineKey``: model, world size, worker, chunk hash, dtype; chunks of 256
tokens; decoded tokens are not saved by default) and Mooncake (kvcache-ai/Mooncake, vLLM's Mooncake store connector).
"""

from collections import deque
from collections.abc import Mapping

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.observation import Observation
from cluster_sim.recording.statuses import FINISHED
from cluster_sim.routing.component import HubComponent, HubServices
from cluster_sim.routing.kv_store.options import KvStoreOptions
from cluster_sim.routing.prefix_index.approximate import ApproximatePrefixIndex
from cluster_sim.routing.request_states import Attempt, TrackedRequest
from cluster_sim.routing.routes import Target
from cluster_sim.serving.kv_cache.content import content_of
from cluster_sim.serving.kv_cache.prefix_ranges import BlockRange, prefix_ranges
from cluster_sim.serving.kv_cache.store_link import KvLayout
from cluster_sim.units import NS_PER_MS


class KvStore(HubComponent):
    """The index of the store, and what is on its way into it."""

    observation = Observation(responses=True, first_tokens=True)

    def __init__(self, options: KvStoreOptions, layouts: Mapping[str, KvLayout]) -> None:
        """``layouts`` are those of the pools that use the store, by the pool's name."""
        self._chunk_tokens = options.chunk_tokens
        self._put_ns = round(options.put_ms * NS_PER_MS)
        self._saves_output = options.saves_output
        self._layouts = layouts
        self._indexes = {
            layout: ApproximatePrefixIndex([options.chunks(layout.kv_bytes_per_token)])
            for layout in dict.fromkeys(layouts.values())
        }
        self._coming: deque[tuple[int, KvLayout, list[BlockRange]]] = deque()
        """(when it can be found, layout, chunks) of what is being stored, in order."""

    def start(self, hub: HubServices) -> None:
        """Say with every dispatch what the store holds of its prompt."""
        super().start(hub)
        hub.dispatcher.stored = self.stored_tokens

    def stored_tokens(self, tracked: TrackedRequest, target: Target, now_ns: int) -> int:
        """Return how many leading tokens of a prompt the store holds for a replica; finding them makes them recent."""
        layout = self._layouts.get(target.pool)
        if layout is None:
            return 0
        self._settle(now_ns)
        request = tracked.request
        ranges = prefix_ranges(content_of(request), request.prompt_tokens, self._chunk_tokens)
        index = self._indexes[layout]
        chunks = int(index.matched_blocks(ranges)[0])
        if chunks:
            index.record(0, _first(ranges, chunks))
        return chunks * self._chunk_tokens

    def on_first_token(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        """Store the prompt."""
        self._put(tracked, attempt, tracked.request.prompt_tokens, now_ns)

    def on_end(self, tracked: TrackedRequest, now_ns: int) -> list[Send]:
        """Store the answer, or the prompt of a request whose first token was its last."""
        request, last = tracked.request, tracked.last
        if tracked.end.status == FINISHED and last is not None:
            if self._saves_output:
                self._put(tracked, last, request.prompt_tokens + request.output_tokens - 1, now_ns)
            elif request.output_tokens - tracked.resumed_tokens == 1:
                self._put(tracked, last, request.prompt_tokens, now_ns)
        return []

    def _put(self, tracked: TrackedRequest, attempt: Attempt, tokens: int, now_ns: int) -> None:
        layout = self._layouts.get(attempt.target.pool)
        if layout is not None:
            ranges = prefix_ranges(content_of(tracked.request), tokens, self._chunk_tokens)
            self._coming.append((now_ns + self._put_ns, layout, ranges))

    def _settle(self, now_ns: int) -> None:
        """Take in what can be found by now."""
        coming = self._coming
        while coming and coming[0][0] <= now_ns:
            _, layout, ranges = coming.popleft()
            self._indexes[layout].record(0, ranges)


def _first(ranges: list[BlockRange], chunks: int) -> list[BlockRange]:
    """Return the part of some ranges before chunk ``chunks``."""
    return [BlockRange(name, start, min(end, chunks)) for name, start, end in ranges if start < chunks]
