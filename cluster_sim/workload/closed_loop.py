"""N users, each with at most one request in flight: send, wait, think, send again.

Request ids are user + turn * users, and every draw is keyed by that id.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from cluster_sim.units import NS_PER_S
from cluster_sim.workload.lengths import build_lengths
from cluster_sim.workload.options import ClosedLoopWorkload
from cluster_sim.workload.request import Request
from cluster_sim.workload.sampling.distributions import build_quantile
from cluster_sim.workload.sampling.random_streams import BLOCK, Stream
from cluster_sim.workload.session_plans import floor_ns, thoughts_ns
from cluster_sim.workload.traits import Bodies, Identity, TraitMaker, fill_prompt, session_attributes


@dataclass(frozen=True, slots=True)
class _Draws:
    """What is drawn for one block of ids."""

    prompt: list[int]
    output: list[int]
    think_ns: list[int]
    identities: list[Identity]
    bodies: Bodies


class ClosedLoopSource:
    """A ``FeedbackSource`` of N users."""

    def __init__(self, config: ClosedLoopWorkload, part: int, stream: Stream) -> None:
        self._config = config
        self._lengths = build_lengths(config.lengths, stream.child("lengths"))
        self._think = build_quantile(config.think_time_s)
        self._think_stream = stream.child("think")
        self._traits = TraitMaker(config.traits, part, stream.child("traits"))
        self.think_floor_ns = max(floor_ns(config.think_floor_ms), int(min(self._think.least, 1e7) * NS_PER_S))
        self._end_ns = None if config.duration_s is None else round(config.duration_s * NS_PER_S)
        self._blocks: OrderedDict[int, _Draws] = OrderedDict()
        self._most_blocks = 64 + 16 * config.users // BLOCK

    def _draws(self, request_id: int) -> tuple[_Draws, int]:
        """Return the draws that hold an id, and its place in them; recently used blocks are kept."""
        number, place = divmod(request_id, BLOCK)
        block = self._blocks.get(number)
        if block is None:
            first = number * BLOCK
            prompt, output = self._lengths.draw(first, BLOCK)
            bodies = self._traits.bodies(first, output)
            identities = self._traits.identities(first, BLOCK)
            prompts = prompt.tolist()
            if self._traits.prefix_on_top:
                prompts = [one + who.prefix_tokens for one, who in zip(prompts, identities, strict=True)]
            if self._traits.media_in_prompt and bodies.encoder_tokens is not None:
                prompts = [one + media for one, media in zip(prompts, bodies.encoder_tokens.tolist(), strict=True)]
            think = thoughts_ns(self._think.values(self._think_stream.uniforms(first, BLOCK)), self.think_floor_ns)
            block = _Draws(prompts, output.tolist(), think.tolist(), identities, bodies)
            self._blocks[number] = block
            if len(self._blocks) > self._most_blocks:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(number)
        return block, place

    def _request(self, request_id: int, arrival_ns: int) -> Request | None:
        """Return the request with an id, or None when the workload ends before it."""
        count = self._config.count
        if (count is not None and request_id >= count) or (self._end_ns is not None and arrival_ns >= self._end_ns):
            return None
        draws, place = self._draws(request_id)
        turn, user = divmod(request_id, self._config.users)
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
        users, ramp_ns = self._config.users, round(self._config.ramp_s * NS_PER_S)
        for first in range(0, users, BLOCK):
            made = [self._request(user, user * ramp_ns // users) for user in range(first, min(first + BLOCK, users))]
            some = [request for request in made if request is not None]
            if not some:
                return
            yield some

    def on_end(self, request: Request, at_ns: int, status: str) -> list[Request]:  # noqa: ARG002
        """Return the user's next request; a user goes on whatever became of the last one."""
        draws, place = self._draws(request.request_id)
        following = self._request(request.request_id + self._config.users, at_ns + draws.think_ns[place])
        return [] if following is None else [following]
