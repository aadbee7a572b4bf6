"""N users, each with at most one request in flight: send, wait, think, send again.

Request ids are user + turn * users, and every draw is keyed by that id.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S, MS_PER_DAY
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.feedback.think_times import floor_ns, shortest_think_time_ns, think_times_ns
from cluster_sim.workload.kind_interface import WORKLOAD_KINDS, EndOptions, LoadUnit, WorkloadKind, WorkloadParts
from cluster_sim.workload.lengths.length_sampler import Lengths, build_lengths
from cluster_sim.workload.request import Request
from cluster_sim.workload.sampling.distribution import Distribution, build_quantile
from cluster_sim.workload.sampling.random_streams import BLOCK, Stream
from cluster_sim.workload.traits.trait_options import Traits
from cluster_sim.workload.traits.trait_sampler import Bodies, Identity, TraitSampler, fill_prompt, session_attributes


class ClosedLoopWorkload(EndOptions):
    """N users, each sending a request, waiting for its end, thinking, sending the next."""

    example: ClassVar = {
        "users": 8,
        "count": 100,
        "lengths": {"prompt": {"kind": "uniform", "min": 10, "max": 100}, "output": {"kind": "fixed", "value": 20}},
        "think_time_s": {"kind": "fixed", "value": 3},
    }

    kind: Literal["closed_loop"]
    users: int = Field(ge=1, le=10_000_000, description="Users, each with at most one request in flight.")
    lengths: Lengths = Field(description="Prompt and output tokens.")
    think_time_s: Distribution = Field(description="From the end of a request to the user's next one, seconds.")
    think_floor_ms: float = Field(
        default=1.0,
        gt=0,
        le=MS_PER_DAY,
        description="Shorter thoughts are lengthened to this: the simulation's lookahead, ms.",
    )
    ramp_s: float = Field(
        default=0.0, ge=0, le=LONGEST_RUN_S, description="Users start evenly spread over this time, seconds."
    )
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")


@WORKLOAD_KINDS.register("closed_loop", ClosedLoopWorkload)
class ClosedLoopKind(WorkloadKind[ClosedLoopWorkload]):
    """N users, each with at most one request in flight."""

    @property
    def reacts(self) -> bool:
        """Whether later requests depend on how earlier ones fare: always."""
        return True

    @property
    def is_stationary(self) -> bool:
        """Whether the load is the same throughout: the users are."""
        return True

    @property
    def load_unit(self) -> LoadUnit:
        """Users."""
        return "users"

    @property
    def users(self) -> int:
        """The users of the options."""
        return self.options.users

    def scaled(self, factor: float) -> ClosedLoopWorkload:
        """Return the options with so many times the users."""
        return self.options.model_copy(update={"users": math.ceil(self.options.users * factor - 1e-9)})

    @property
    def total_requests(self) -> int | None:
        """The count of the options."""
        return self.options.count

    def source(self, parts: WorkloadParts) -> "ClosedLoopSource":
        """Return the source of the users' requests."""
        return ClosedLoopSource(self.options, *parts.take())


@dataclass(frozen=True, slots=True)
class _Draws:
    """Everything that is drawn for one block of ids."""

    prompt: list[int]
    output: list[int]
    think_ns: list[int]
    identities: list[Identity]
    bodies: Bodies


class ClosedLoopSource:
    """A ``FeedbackSource`` of N users."""

    def __init__(self, options: ClosedLoopWorkload, part: int, stream: Stream) -> None:
        self._options = options
        self._lengths = build_lengths(options.lengths, stream.child("lengths"))
        self._think = build_quantile(options.think_time_s)
        self._think_stream = stream.child("think")
        self._traits = TraitSampler(options.traits, part, stream.child("traits"))
        self.think_floor_ns = shortest_think_time_ns(self._think.least, floor_ns(options.think_floor_ms))
        self._end_ns = None if options.duration_s is None else round(options.duration_s * NS_PER_S)
        self._blocks: OrderedDict[int, _Draws] = OrderedDict()
        self._most_blocks = 64 + 16 * options.users // BLOCK

    def _draws(self, request_id: int) -> tuple[_Draws, int]:
        """Return the draws that hold an id, and its place in them; recently used blocks are kept."""
        number, place = divmod(request_id, BLOCK)
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = self._draw(number * BLOCK)
            if len(self._blocks) > self._most_blocks:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(number)
        return block, place

    def _draw(self, first: int) -> _Draws:
        """Return the draws of the block of ids that begins with ``first``."""
        prompt, output = self._lengths.draw(first, BLOCK)
        bodies = self._traits.bodies(first, output)
        identities = self._traits.identities(first, BLOCK)
        prompts = prompt.tolist()
        if self._traits.prefix_on_top:
            prompts = [tokens + user.prefix_tokens for tokens, user in zip(prompts, identities, strict=True)]
        if self._traits.media_in_prompt and bodies.encoder_tokens is not None:
            prompts = [tokens + media for tokens, media in zip(prompts, bodies.encoder_tokens.tolist(), strict=True)]
        think = think_times_ns(self._think.values(self._think_stream.uniforms(first, BLOCK)), self.think_floor_ns)
        return _Draws(prompts, output.tolist(), think.tolist(), identities, bodies)

    def _request(self, request_id: int, arrival_ns: int) -> Request | None:
        """Return the request with an id, or None when the workload ends before it."""
        count = self._options.count
        if (count is not None and request_id >= count) or (self._end_ns is not None and arrival_ns >= self._end_ns):
            return None
        draws, place = self._draws(request_id)
        turn, user = divmod(request_id, self._options.users)
        identity = draws.identities[place]
        prompt = draws.prompt[place]
        own = self._traits.segment_base + 2 * request_id
        attributes = session_attributes(
            identity.base,
            (self._traits.segment_base + user, turn),
            self._traits.deadline_ns(arrival_ns),
            (fill_prompt(identity.segments, prompt, own) if identity.segments else (), -1),
            draws.bodies.row(place),
        )
        return Request(request_id, arrival_ns, prompt, draws.output[place], attributes)

    def initial(self) -> Iterator[list[Request]]:
        """Yield every user's first request."""
        self._blocks.clear()
        users, ramp_ns = self._options.users, round(self._options.ramp_s * NS_PER_S)
        for first in range(0, users, BLOCK):
            made = [self._request(user, user * ramp_ns // users) for user in range(first, min(first + BLOCK, users))]
            requests = [request for request in made if request is not None]
            if not requests:
                return
            yield requests

    def on_end(self, request: Request, now_ns: int, status: str) -> list[Request]:
        """Return the user's next request; a user continues after every status of the last one."""
        draws, place = self._draws(request.request_id)
        following = self._request(request.request_id + self._options.users, now_ns + draws.think_ns[place])
        return [] if following is None else [following]

    def snapshot(self) -> Any:
        """Return nothing: what a user sends next follows from the request that ended."""

    def restore(self, state: Any) -> None:
        """Change nothing."""
