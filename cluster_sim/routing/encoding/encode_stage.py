"""Encode stage: media encoded by instances of their own before a prompt is computed.

The third stage beside prefill and decode (encode-prefill-decode disaggregation, arXiv:2501.05460; vLLM's encoder
instances, docs/features/disagg_encoder.md).  A request with encoder tokens that the router would send to a replica
first goes to the encoder that is free earliest, in the order of routing; when its embeddings have arrived it is routed,
and the replica computes no encoder tokens.  An encoder finishes what it has been given, also if the client gives up.
Attempts after the first find the embeddings there.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from heapq import heapreplace
from typing import Any, NamedTuple

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import Kind
from cluster_sim.engine.observation import Observation
from cluster_sim.routing.component import Encoding
from cluster_sim.routing.encoding.options import EncoderOptions
from cluster_sim.routing.request_states import TrackedRequest
from cluster_sim.units import NS_PER_MS, NS_PER_S
from cluster_sim.workload.request import Request


class Encoded(NamedTuple):
    """The embeddings of a request are where prompts are computed."""

    request_id: int


class EncodeStage(Encoding):
    """The encoders, as servers of one queue."""

    observation = Observation()

    def __init__(self, options: EncoderOptions) -> None:
        self._options = options
        self._free_ns = [0] * options.instances
        """Heap of the times at which encoders have done what they were given."""
        self._requests = 0
        self._given_ns = 0
        """Work that they were given, some of it perhaps beyond the end of the run."""

    def handlers(self) -> Mapping[type, Callable[[Any, int], list[Send]]]:
        """Return what handles the end of an encoding."""
        return {Encoded: self._on_encoded}

    def takes(self, tracked: TrackedRequest, now_ns: int) -> bool:
        """Give a request with media that are not encoded to an encoder; return whether it has any."""
        request = tracked.request
        tokens = request.attributes.encoder_tokens
        if not tokens:
            return False
        options = self._options
        work_ns = round(options.overhead_ms * NS_PER_MS + tokens / options.tokens_per_s * NS_PER_S)
        end_ns = max(now_ns, self._free_ns[0]) + work_ns
        heapreplace(self._free_ns, end_ns)
        self._requests += 1
        self._given_ns += work_ns
        # At least 1 ns: this instant's global schedules may be over.
        arrival_ns = max(now_ns + 1, end_ns + round(options.transfer_ms * NS_PER_MS))
        self.hub.requests.encodings[request.request_id] = now_ns, arrival_ns
        self.hub.events.schedule(arrival_ns, Kind.GLOBAL_SCHEDULE, request.request_id, Encoded(request.request_id))
        return True

    def work(self, end_ns: int) -> tuple[int, int]:
        """Return (requests, ns of work) up to ``end_ns``; who is busy beyond it has no break before."""
        return self._requests, self._given_ns - sum(max(0, free_ns - end_ns) for free_ns in self._free_ns)

    def _on_encoded(self, event: Encoded, now_ns: int) -> list[Send]:
        tracked = self.hub.requests.get(event.request_id)
        if tracked is None:
            return []  # The client has given up.
        old = tracked.request
        attributes = replace(old.attributes, encoder_tokens=0, encoded_tokens=old.attributes.encoder_tokens)
        tracked.request = Request(old.request_id, old.arrival_ns, old.prompt_tokens, old.output_tokens, attributes)
        return self.hub.route(tracked, now_ns)
