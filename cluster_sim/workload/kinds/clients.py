"""Client profiles: one arrival process, of which each arrival belongs to a profile drawn by share."""

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.options import GREATEST_WEIGHT, BoundedName, ConfigModel
from cluster_sim.workload.arrivals.arrival_process import Arrivals
from cluster_sim.workload.columns import Columns, ColumnSource, concatenate
from cluster_sim.workload.feedback.think_times import floor_ns
from cluster_sim.workload.kind_interface import WORKLOAD_KINDS, ArrivingOptions, LoadUnit, WorkloadKind, WorkloadParts
from cluster_sim.workload.lengths.length_sampler import Lengths, build_lengths
from cluster_sim.workload.request_stream import RequestStream
from cluster_sim.workload.sampling.distributions.fixed import FixedDistribution
from cluster_sim.workload.sampling.random_streams import Ints, Stream
from cluster_sim.workload.sessions.session_planner import SessionPlanner
from cluster_sim.workload.sessions.session_source import SessionSource, SharedPlanner
from cluster_sim.workload.sessions.turn_taking import SessionShape, TurnTaking
from cluster_sim.workload.traits.trait_options import Traits
from cluster_sim.workload.traits.trait_sampler import TraitSampler


class Conversation(TurnTaking):
    """Turns of a conversational client profile."""

    probability: float = Field(default=1.0, ge=0, le=1, description="Share of this profile's arrivals that converse.")


class ClientProfile(ConfigModel):
    """One kind of client."""

    name: BoundedName = Field(min_length=1, description="Name; also the tenant unless traits give one.")
    share: float = Field(default=1.0, gt=0, le=GREATEST_WEIGHT, description="Relative share of the arrivals.")
    lengths: Lengths = Field(description="Prompt and output tokens (of each turn, when conversational).")
    conversation: Conversation | None = Field(default=None, description="Multi-turn behaviour; absent: none.")
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")

    def shape(self) -> SessionShape:
        """Return the shape of the profile's sessions: one turn if it does not converse."""
        traits = self.traits if self.traits.tenant else self.traits.model_copy(update={"tenant": self.name})
        talk = self.conversation
        if talk is not None:
            return SessionShape.of(talk, self.lengths, traits, talk.probability)
        one = FixedDistribution(value=1.0)
        return SessionShape(
            one, self.lengths, one, floor_ns(1000.0), accumulate=False, max_context_tokens=None, traits=traits
        )


class ClientsWorkload(ArrivingOptions):
    """One arrival process; each arrival belongs to a profile drawn by share."""

    example: ClassVar = {
        "arrivals": {"kind": "poisson", "request_rate": 5},
        "count": 100,
        "profiles": [
            {
                "name": "chat",
                "lengths": {
                    "prompt": {"kind": "uniform", "min": 10, "max": 100},
                    "output": {"kind": "fixed", "value": 20},
                },
                "conversation": {"turns": {"kind": "fixed", "value": 3}, "think_time_s": {"kind": "fixed", "value": 3}},
            },
            {
                "name": "batch",
                "lengths": {
                    "prompt": {"kind": "uniform", "min": 10, "max": 100},
                    "output": {"kind": "fixed", "value": 20},
                },
            },
        ],
    }

    kind: Literal["clients"]
    arrivals: Arrivals = Field(description="When any client's request or conversation starts.")
    profiles: tuple[ClientProfile, ...] = Field(min_length=1, description="The kinds of clients.")

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [profile.name for profile in self.profiles]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"profile '{name}' is given twice")
        return self


@WORKLOAD_KINDS.register("clients", ClientsWorkload)
class ClientsKind(WorkloadKind[ClientsWorkload]):
    """Clients of several profiles; open loop unless one converses."""

    @property
    def reacts(self) -> bool:
        """Whether a profile converses."""
        return any(profile.conversation is not None for profile in self.options.profiles)

    @property
    def load_unit(self) -> LoadUnit:
        """Sessions if a profile converses."""
        return "sessions" if self.reacts else "requests"

    @property
    def total_requests(self) -> int | None:
        """The count of the options, if no profile converses."""
        return None if self.reacts else self.options.count

    def columns(self, parts: WorkloadParts) -> ColumnSource:
        """Return the requests of profiles that do not converse."""
        if self.reacts:
            return super().columns(parts)
        return ClientsColumns(self.options, *parts.take(len(self.options.profiles)))

    def source(self, parts: WorkloadParts) -> SessionSource | RequestStream:
        """Return the source of all profiles' requests."""
        if not self.reacts:
            return RequestStream(self.columns(parts))
        profiles = self.options.profiles
        first_part, stream = parts.take(len(profiles))
        planners = [
            SessionPlanner(profile.shape(), first_part + index, stream.child("client", profile.name))
            for index, profile in enumerate(profiles)
        ]
        planner = SharedPlanner(planners, [profile.share for profile in profiles], stream)
        return SessionSource(planner, self.options.arrival_times(stream))


class ClientsColumns:
    """A ``ColumnSource``; a profile's draws are keyed by its own arrivals' numbers."""

    def __init__(self, options: ClientsWorkload, first_part: int, stream: Stream) -> None:
        self._times = options.arrival_times(stream)
        shares = np.asarray([profile.share for profile in options.profiles])
        self._edges = np.cumsum(shares) / shares.sum()
        self._pick_stream = stream.child("profile")
        streams = [stream.child("client", profile.name) for profile in options.profiles]
        shapes = [profile.shape() for profile in options.profiles]
        self._lengths = [
            build_lengths(shape.lengths, own.child("lengths")) for shape, own in zip(shapes, streams, strict=True)
        ]
        self._traits = [
            TraitSampler(shape.traits, first_part + index, own.child("traits"))
            for index, (shape, own) in enumerate(zip(shapes, streams, strict=True))
        ]

    def columns(self) -> Iterator[Columns]:
        """Yield the blocks from the first on; every call starts over and gives the same."""
        first = 0
        made = [0] * len(self._lengths)
        for arrival_ns in self._times():
            picks = np.searchsorted(self._edges, self._pick_stream.uniforms(first, len(arrival_ns)), side="left")
            picks = np.minimum(picks, len(self._lengths) - 1)
            first += len(arrival_ns)
            blocks: list[Columns] = []
            places: list[Ints] = []
            for index, (lengths, traits) in enumerate(zip(self._lengths, self._traits, strict=True)):
                rows = np.flatnonzero(picks == index)
                if len(rows):
                    prompt, output = lengths.draw(made[index], len(rows))
                    blocks.append(traits.decorate(Columns(arrival_ns[rows], prompt, output), made[index]))
                    places.append(rows)
                    made[index] += len(rows)
            yield concatenate(blocks).rows(np.argsort(np.concatenate(places), kind="stable"))
