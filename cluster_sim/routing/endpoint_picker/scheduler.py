"""Scheduler of the endpoint picker: runs the profiles of a file and keeps the counts that its parts read."""

from collections.abc import Mapping, Sequence

import numpy as np

from cluster_sim.engine.draws import draw_below, stream_key
from cluster_sim.errors import InputError
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.endpoint_picker.config_reader import PickerConfig, Profile
from cluster_sim.routing.endpoint_picker.decision import Decision, Selection
from cluster_sim.routing.endpoint_picker.endpoints import Endpoints, Positions, Scores
from cluster_sim.routing.endpoint_picker.label_filter import LabelFilter
from cluster_sim.routing.endpoint_picker.part_table import PartTable
from cluster_sim.routing.endpoint_picker.parts import Filter, Picker, ProfileHandler, Scorer
from cluster_sim.routing.endpoint_picker.roles import RoleFilter
from cluster_sim.workload.request import Request


class RunningProfile:
    """The parts of one profile in the order in which they work."""

    def __init__(self, profile: Profile, parts: PartTable) -> None:
        members = [(parts[reference.name], reference.weight) for reference in profile.references]
        self.name = profile.name
        self.filters = [part for part, _ in members if isinstance(part, Filter)]
        self._scorers = [(part, weight) for part, weight in members if isinstance(part, Scorer)]
        (self._picker,) = (part for part, _ in members if isinstance(part, Picker))

    def run(self, decision: Decision, positions: Positions) -> int:
        """Return the endpoint that the picker chooses; -1 if the filters leave none."""
        for each in self.filters:
            positions = each.keep(decision, positions)
            if not len(positions):
                return -1
        total: Scores | None = None
        for scorer, weight in self._scorers:
            scores = scorer.scores(decision, positions)
            weighted = scores if weight == 1 else scores * weight
            total = weighted if total is None else total + weighted
        if total is None:
            total = np.zeros(len(positions))
        return self._picker.pick(decision, positions, total, self.name)


class EndpointScheduler:
    """Chooses the endpoints of each request as a file says."""

    def __init__(self, config: PickerConfig, candidates: Candidates, objectives: Mapping[str, tuple[int, int]]) -> None:
        """Build every part; raises InputError if the profiles do not fit the handler or the fleet."""
        self.endpoints = Endpoints(candidates)
        self.parts = PartTable(config.plugins, self.endpoints, candidates.seed, objectives)
        self._profiles = {profile.name: RunningProfile(profile, self.parts) for profile in config.profiles}
        self._handler = next(part for part in self.parts if isinstance(part, ProfileHandler))
        names = self._handler.profiles(list(self._profiles))
        self._must_keep_somebody(self._profiles[names[0]])
        self._key = stream_key(candidates.seed, "router", "endpoints that no filter keeps")
        self._counts = any(part.counts_requests or part.counts_first_tokens for part in self.parts)
        self._sent: dict[tuple[int, int], tuple[int, int]] = {}
        """By request and position: tokens that are in flight there, and those of them without a first token."""

    def _must_keep_somebody(self, profile: RunningProfile) -> None:
        """Raise InputError if roles and labels leave nobody of the whole fleet."""
        endpoints = self.endpoints
        positions = endpoints.everybody
        for each in profile.filters:
            if isinstance(each, RoleFilter | LabelFilter) and len(positions):
                positions = each.keep(Decision(Request(0, 0, 1, 1), 0, endpoints), positions)
                if not len(positions):
                    raise InputError(
                        f"its profile {profile.name!r} keeps no replica: {each.name} leaves none; "
                        "see role and labels of the pools"
                    )

    def schedule(
        self, request: Request, now_ns: int, decoding: Sequence[int] | None, prefilling: Sequence[int] | None
    ) -> Selection:
        """Return the endpoints for a request, of those given (None: all), and note that it goes there.

        If filters leave nobody to decode, one of those given is drawn.
        """
        decision = Decision(request, now_ns, self.endpoints)
        able, computing = self._positions(decoding), self._positions(prefilling)
        selection = self._handler.select(decision, self._run, able, computing)
        if selection is None:
            left = self.endpoints.everybody if able is None else able
            selection = Selection(int(left[draw_below(self._key, request.request_id, len(left))]))
        for source in self.parts.sources:
            source.matched_blocks(decision)  # Before it is recorded for the choice.
        if self._counts:
            self._count(decision, selection)
        for part in self.parts:
            part.on_chosen(decision, selection)
        return selection

    def _positions(self, given: Sequence[int] | None) -> Positions | None:
        """Return positions as an array; None for everybody."""
        return None if given is None or len(given) == self.endpoints.count else np.asarray(given, np.int64)

    def _run(self, name: str, decision: Decision, positions: Positions | None) -> int:
        if positions is None:
            positions = self.endpoints.everybody
        return self._profiles[name].run(decision, positions) if len(positions) else -1

    # ---------------------------------------------------------------------------------------------------- own counts

    def _count(self, decision: Decision, selection: Selection) -> None:
        request, endpoints = decision.request, self.endpoints
        source = self.parts.prefix_source("")
        computing = selection.prefill if selection.prefill >= 0 else selection.decode
        for position in selection.positions:
            tokens = 0
            if position == computing:
                tokens = request.prompt_tokens if source is None else source.uncached_at(decision, position)
            key = (request.request_id, position)
            if key in self._sent:
                self.on_end(position, request)
            self._sent[key] = (tokens, tokens)
            endpoints.in_flight[position] += 1
            endpoints.in_flight_tokens[position] += tokens
            endpoints.unprefilled_tokens[position] += tokens

    def on_first_token(self, position: int, request: Request) -> None:
        """Note that a request's prompt is computed."""
        key = (request.request_id, position)
        sent = self._sent.get(key)
        if sent is not None:
            self.endpoints.unprefilled_tokens[position] -= sent[1]
            self._sent[key] = (sent[0], 0)

    def on_end(self, position: int, request: Request) -> None:
        """Note that a request has left an endpoint."""
        sent = self._sent.pop((request.request_id, position), None)
        if sent is not None:
            self.endpoints.in_flight[position] -= 1
            self.endpoints.in_flight_tokens[position] -= sent[0]
            self.endpoints.unprefilled_tokens[position] -= sent[1]

    # ------------------------------------------------------------------------------------------------------ the fleet

    def on_join(self, position: int) -> None:
        """Take in an endpoint that has joined."""
        self.endpoints.grow()
        for part in self.parts:
            part.on_join(position)

    def on_leave(self, position: int) -> None:
        """Forget an endpoint that has left."""
        for part in self.parts:
            part.on_leave(position)
