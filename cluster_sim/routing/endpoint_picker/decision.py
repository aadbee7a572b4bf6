"""Decision: one request that is being scheduled, with what its parts have found out about it."""

from collections.abc import Sequence

from cluster_sim.routing.endpoint_picker.endpoints import Endpoints
from cluster_sim.serving.kv_cache.content import Content, content_of
from cluster_sim.serving.kv_cache.prefix_ranges import BlockRange, prefix_ranges
from cluster_sim.workload.request import Request


class Decision:
    """The scheduling of one request."""

    __slots__ = ("_content", "_ranges", "endpoints", "findings", "now_ns", "request")

    def __init__(self, request: Request, now_ns: int, endpoints: Endpoints) -> None:
        self.request = request
        self.now_ns = now_ns
        self.endpoints = endpoints
        self.findings: dict[str, object] = {}
        """What parts keep for the rest of the decision, by their names."""
        self._content: Content | None = None
        self._ranges: dict[tuple[int, int, bool], Sequence[BlockRange]] = {}

    def prompt_ranges(self, block_size: int, most_blocks: int, *, counts_partial: bool) -> Sequence[BlockRange]:
        """Return the blocks of the prompt by name, see ``prefix_ranges``; asked twice, computed once."""
        key = (block_size, most_blocks, counts_partial)
        found = self._ranges.get(key)
        if found is None:
            if self._content is None:
                self._content = content_of(self.request)
            found = self._ranges[key] = prefix_ranges(
                self._content,
                self.request.prompt_tokens,
                block_size,
                counts_partial=counts_partial,
                most_blocks=most_blocks,
            )
        return found


class Selection:
    """The endpoints that a profile handler has chosen for one request."""

    __slots__ = ("decode", "prefill")

    def __init__(self, decode: int, prefill: int = -1) -> None:
        self.decode = decode
        self.prefill = prefill
        """-1 if the endpoint that decodes computes the prompt too."""

    @property
    def positions(self) -> tuple[int, ...]:
        """The chosen endpoints."""
        return (self.decode, self.prefill) if self.prefill >= 0 else (self.decode,)
