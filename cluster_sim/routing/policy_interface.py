"""Routing policies: the axis, its registry, and the interface of every policy.

A policy declares what it observes of the replicas: nothing, the ends of requests, or some figures of their samples.
That alone decides how far the router may run ahead of the replicas (``engine.coordinator``) and what they sample.  It
answers with a position among the candidates that it was built with.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from cluster_sim.engine.observation import Observation
from cluster_sim.registry import Registry
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.declared_samples import SAMPLED_FIELDS, DeclaredView
from cluster_sim.routing.options import RouterOptions
from cluster_sim.serving.messages import AdapterSample, PrefixSample, Sample
from cluster_sim.workload.request import Request

ROUTING_POLICIES: Final = Registry[type["RoutingPolicy"]](
    "routing policy",
    "cluster_sim.routing.policies",
    "cluster_sim.routing_policies",
    tag="policy",
    default="least_outstanding",
)
"""Policies, each made from its options and its candidates."""

if TYPE_CHECKING:
    RouterConfig = RouterOptions
else:
    RouterConfig = ROUTING_POLICIES.annotation()


class Choice(NamedTuple):
    """The replicas that serve one request."""

    decode: int
    """Position of the one that decodes."""
    prefill: int = -1
    """Position of the one that computes the prompt; -1 if the one that decodes does."""


class RoutingPolicy(ABC):
    """Chooses a replica for each request, in the order of their global schedules.

    Replicas that are starting, draining, down or known to be unhealthy are never among the eligible ones.  A router
    that restarts builds its policy anew; of several routers each has a policy of its own.
    """

    chooses_pairs: ClassVar[bool] = False
    """Whether ``choose_pair`` picks the replicas for prompt and decoding together, where the fleet tells them apart."""
    observes_first_tokens: ClassVar[bool] = False
    """Whether ``on_first_token`` is called."""
    observes_responses: ClassVar[bool] = False
    """Whether ``on_end`` is called, at the time when a response comes back or the router gives an attempt up."""
    sampled_fields: ClassVar[tuple[str, ...]] = ()
    """The figures of a sample that ``on_sample`` reads, of ``SAMPLED_FIELDS``; it is called if there are any."""

    def __init_subclass__(cls) -> None:
        """Refuse figures that no replica samples, and a ``choose`` of another form; raises TypeError."""
        super().__init_subclass__()
        if len(signature(cls.choose).parameters) != len(signature(RoutingPolicy.choose).parameters):
            raise TypeError(f"{cls.__name__}.choose must take request, now_ns and eligible")
        unknown = sorted(set(cls.sampled_fields) - set(SAMPLED_FIELDS))
        if unknown:
            raise TypeError(
                f"{cls.__name__}.sampled_fields: no replica samples {', '.join(unknown)}; "
                f"known: {', '.join(SAMPLED_FIELDS)}"
            )

    def __init__(self, options: RouterOptions, candidates: Candidates) -> None:
        telemetry = options.telemetry
        reads_samples = bool(self.sampled_fields)
        self.options = options
        self.candidates = candidates
        self.observation = Observation(
            responses=self.observes_responses or self.observes_first_tokens,
            telemetry=reads_samples,
            period_ns=telemetry.period_ns if reads_samples else 0,
            latency_ns=telemetry.latency_ns if reads_samples else 0,
            sampled_fields=frozenset(self.sampled_fields),
            first_tokens=self.observes_first_tokens,
        )
        """What the router must know of the replicas whenever this policy decides."""
        self._declared = DeclaredView(options.policy, self.sampled_fields)

    @abstractmethod
    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the position of the chosen candidate and note the dispatch.

        ``eligible`` holds the positions that can run the request, ascending and at least one; None if all can.
        """

    def choose_pair(
        self, request: Request, now_ns: int, decode_eligible: Sequence[int], prefill_eligible: Sequence[int]
    ) -> Choice:
        """Return the positions that serve a request in a fleet with pools for prompts, and note the dispatch.

        Only policies with ``chooses_pairs`` are asked.  ``decode_eligible`` holds at least one position.
        """
        raise NotImplementedError(f"{type(self).__name__} does not choose pairs")

    def on_join(self, position: int) -> None:
        """Note that ``candidates`` has grown by ``position``; it becomes eligible later."""

    def on_leave(self, position: int) -> None:
        """Note that a candidate has left for ever."""

    def on_first_token(self, position: int, request: Request) -> None:
        """Note that a request dispatched to ``position`` has its first token."""

    def on_end(self, position: int, request: Request) -> None:
        """Note that a request dispatched to ``position`` has ended there."""

    def on_sample(self, position: int, sample: Sample) -> None:
        """Note a sample that has become visible.

        Reading a figure of it that ``sampled_fields`` does not declare raises InputError.
        """

    def on_grid_sample(self, grid: str, position: int, sample: Sample) -> None:
        """Note a sample of a grid of the router (``Observation.grids``), its own or another's."""

    def on_prefixes(self, position: int, sample: PrefixSample) -> None:
        """Note KV events that have become visible; replicas send them if ``observation`` has a grid ``PREFIXES``."""

    def on_adapters(self, position: int, sample: AdapterSample) -> None:
        """Note LoRA adapters that have become visible; they are sent if ``observation`` has a grid ``ADAPTERS``."""

    def observe(self, position: int, sample: Sample) -> None:
        """Show the policy what it may read of a sample."""
        self.on_sample(position, self._declared(sample))


def build_policy(options: RouterOptions, candidates: Candidates) -> RoutingPolicy:
    """Build the policy that a study's router names; raise InputError, which lists the known ones, if there is none."""
    return ROUTING_POLICIES.chosen_by(options).part(options, candidates)


def default_router() -> RouterOptions:
    """Return the router of a study that says nothing of it."""
    options = ROUTING_POLICIES.get(str(ROUTING_POLICIES.default)).options()
    assert isinstance(options, RouterOptions)
    return options
