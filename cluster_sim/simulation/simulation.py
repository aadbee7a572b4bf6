"""Composition of one run: the only place that builds a hub, replicas, groups and a coordinator, and connects them.

A ``Simulation`` holds everything that is decided before time starts, resolved and picklable: the inline executor builds
every process from it, a distributed one builds in each worker the processes of that worker.
"""

from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import methodcaller
from typing import NamedTuple

from cluster_sim.engine.coordinator import Coordinator, LinkOfJoining, ProcessLink, run_ahead_of
from cluster_sim.engine.floor import FloorModel
from cluster_sim.engine.group import Group, LinkDelays
from cluster_sim.engine.instant import NEVER, Instant
from cluster_sim.engine.observation import Observation
from cluster_sim.engine.process import Join
from cluster_sim.errors import InputError
from cluster_sim.hardware.interconnect.transfer_path import FleetLinks
from cluster_sim.hardware.jitter import Jitter
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.kernel.kernels import PYTHON, Kernel
from cluster_sim.metrics.live_rows import LiveRows
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.recording.replica_log import ReplicaLog, pending_limit
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.routing.admission import StaticLimits
from cluster_sim.routing.candidates import Candidate, Candidates, StepFigures
from cluster_sim.routing.component import HubComponent
from cluster_sim.routing.hub import RouterHub
from cluster_sim.routing.membership import PoolFacts
from cluster_sim.routing.policy_interface import RoutingPolicy
from cluster_sim.routing.roles import can_decode, can_prefill
from cluster_sim.routing.routes import Route, Target, observed_by
from cluster_sim.routing.scaling.traffic_split import TrafficSplit
from cluster_sim.serving.content_sampler import PREFIXES
from cluster_sim.serving.kv_cache.store_link import KvLayout
from cluster_sim.serving.lives.timeline import NO_FAULTS, Timeline
from cluster_sim.serving.replica import Replica
from cluster_sim.serving.replica_settings import ReplicaSettings, floor_model, reports
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.shown_values import counted
from cluster_sim.simulation.parallelism import replica_limits
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.source import FeedbackSource, RequestSource


@dataclass(frozen=True, slots=True)
class SimulatedPool:
    """Equal replicas that serve one model."""

    name: str
    model: str
    replicas: int
    first_replica: int
    """Replicas are numbered consecutively over all pools."""
    limits: SchedulerLimits
    """Of one data-parallel rank."""
    predictor: Predictor
    """Serves every replica of the pool in one process."""
    scheduler: Callable[[], Scheduler]
    """Builds the scheduler of one replica."""
    fills_batches: bool = False
    """Whether a batch waits until it is full."""
    jitter_ratio: float = 0.0
    """Standard deviation of the noise on step times, over their mean."""
    delays: LinkDelays = field(default=LinkDelays(0, 0))
    """The links between the router and each replica."""
    role: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    site: str = ""
    lora_slots: int = 0
    """Adapters that fit on a replica at once."""
    usd_per_hour: float = 0.0
    """Price of one replica."""
    routes_ranks: bool = False
    """Whether the router chooses data-parallel ranks instead of replicas."""
    kv_layout: KvLayout | None = None
    """What its KV blocks must share with those of another pool to be interchangeable; None if that is not known."""

    step_figures: StepFigures | None = None
    """For policies that estimate latencies."""

    def candidate(self, replica: int) -> Candidate:
        """Return what routing policies know of a replica, or of one of its ranks if they are targets."""
        limits = self.limits
        ranks = 1 if self.routes_ranks else limits.data_parallel
        return Candidate(
            replica=replica,
            pool=self.name,
            role=self.role,
            labels=self.labels,
            site=self.site,
            max_model_len=limits.max_model_len,
            kv_blocks=limits.kv_blocks * ranks,
            block_size=limits.block_size,
            max_num_seqs=limits.max_num_seqs * ranks,
            lora_slots=self.lora_slots,
            usd_per_hour=self.usd_per_hour,
            step_figures=self.step_figures,
        )

    @property
    def members(self) -> range:
        """The pool's replicas."""
        return range(self.first_replica, self.first_replica + self.replicas)

    @property
    def static_limits(self) -> StaticLimits:
        """What a request must keep to be servable at all."""
        limits = self.limits
        return StaticLimits(limits.max_model_len, limits.context_blocks, limits.block_size, limits.tokens_per_step)

    @property
    def floors(self) -> FloorModel:
        """Least durations of a replica's steps."""
        return floor_model(self.predictor, self.limits, self.jitter_ratio)


ComponentFactory = Callable[["Simulation"], HubComponent]
"""Builds a component of the hub for a run."""


@dataclass(frozen=True, slots=True)
class ReplicaBuilder:
    """Builds the replicas that join a run in one process, and lists them with the others."""

    simulation: "Simulation"
    observation: Observation
    replicas: list[Replica]

    def __call__(self, index: int, pool: int) -> Replica:
        """Build replica ``index`` of a pool by its number."""
        simulation = self.simulation
        replica = simulation.build_replica(index, self.observation, is_streamed=simulation.keeps_streams, pool=pool)
        insort(self.replicas, replica, key=lambda replica: replica.source)
        return replica


class Processes(NamedTuple):
    """All processes of one run that is executed in this operating-system process."""

    hub: RouterHub
    replicas: list[Replica]
    """In the order of their indices; those that join come in."""
    groups: dict[int, Group]
    coordinator: Coordinator

    def finish(self, end: Instant) -> None:
        """Bring every replica to exactly ``end``."""
        for group in self.groups.values():
            group.finish(end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """One run, decided before time starts."""

    pools: tuple[SimulatedPool, ...]
    source: Callable[[], RequestSource | FeedbackSource]
    """Builds the source of the requests; raises InputError if a file is wrong."""
    policy: Callable[[Candidates], RoutingPolicy]
    """Builds the routing policy among the replicas of one model."""
    metadata: RunMetadata
    reacts: bool = False
    """Whether the source's later requests depend on how earlier ones fare."""
    total_requests: int | None = None
    """Most requests that the run can see; None if only the run can tell."""
    prefill_policy: Callable[[Candidates], RoutingPolicy] | None = None
    """Builds the policy among the replicas that compute prompts for others, if ``policy`` does not choose these too."""
    reports_chunks: bool = False
    """Whether replicas report every chunk of such a prompt."""
    components: tuple["ComponentFactory", ...] = ()
    """Build the components of the hub beside routing: scalers, faults, queues, retries, hand-overs."""
    routers: int = 1
    """Router replicas, each with a policy of its own."""
    links: FleetLinks = field(default_factory=FleetLinks)
    """What joins the replicas, for transfers between them."""
    split: Mapping[str, float] = field(default_factory=dict)
    """Weights of pools among which requests draw theirs; empty leaves everything to the policy."""
    client_timeout_ns: int = 0
    """The patience of every client; 0 waits for ever."""
    run_end: Instant = NEVER
    """Nothing at or above this happens; NEVER serves every request to its end."""
    seed: int = 0
    series_interval_ns: int = 0
    """Time between two rows of a replica's series; 0 writes none."""
    stall_limit_ns: int = 3600 * NS_PER_S
    """Simulated time without any token, with requests there, after which the run is given up."""
    timeline_of: Callable[[int, str, bool], Timeline] | None = None
    """Returns the faults of a replica by its number, its pool's name, and whether it joins; None if nothing befalls
    any.
    """
    tracks_prefixes: bool = False
    """Whether caches remember what changes of their prefixes from the start, for a policy that comes later."""
    keeps_rows: bool = False
    """Whether the outcome holds every request's row."""
    is_paranoid: bool = False
    """Whether the full state of every process that a window has moved is checked."""
    keeps_streams: bool = False
    """Whether the outcome holds every batch's way through the stages; replicas take single steps for it."""
    kernel: Kernel = PYTHON
    """What the replicas are made of; changes no result."""

    @property
    def replicas(self) -> int:
        """Replicas of all pools."""
        return sum(pool.replicas for pool in self.pools)

    def pool_of(self, replica: int) -> SimulatedPool:
        """Return the pool of a replica."""
        return next(pool for pool in self.pools if replica in pool.members)

    @property
    def observation(self) -> Observation:
        """What the hub will observe, known without reading the workload: it decides how far the hub may run ahead."""
        self._check_batches_fill()
        return self._observed(component.observation for component in self.build_components())

    @property
    def first_observation(self) -> Observation:
        """What of that replicas report at the start."""
        return self._observed(component.first_observation for component in self.build_components())

    def _observed(self, others: Iterable[Observation]) -> Observation:
        routes = self.build_routes().values()
        return observed_by(routes, reacts=self.reacts, times_out=bool(self.client_timeout_ns), others=others)

    # -------------------------------------------------------------------------------------------------------- the hub

    def build_hub(self, log: RequestLog) -> RouterHub:
        """Build the hub, which writes its rows to ``log``."""
        self._check_batches_fill()
        return RouterHub(
            self.source(),
            self.build_routes(),
            log,
            self.client_timeout_ns,
            self.run_end,
            components=self.build_components(),
            pools=self.pool_facts(),
            seed=self.seed,
            stall_limit_ns=self.stall_limit_ns,
        )

    def pool_facts(self) -> list[PoolFacts]:
        """Return what the router knows of a replica of each pool."""
        return [
            PoolFacts(
                index,
                pool.model,
                Target(
                    0,
                    pool.name,
                    pool.delays.forward_ns,
                    pool.static_limits,
                    pool.fills_batches,
                    pool.delays.return_ns,
                    decodes=can_decode(pool.role),
                    prefills=bool(pool.role) and can_prefill(pool.role),
                ),
                pool.candidate(-1),
                pool.limits.data_parallel if pool.routes_ranks else 1,
            )
            for index, pool in enumerate(self.pools)
        ]

    def build_components(self) -> list[HubComponent]:
        """Build the components of the hub."""
        return [component(self) for component in self.components]

    def build_routes(self) -> dict[str, Route]:
        """Return the route of each model by its name, and under "" that of requests which name none, if any."""
        routes: dict[str, Route] = {}
        models = list(dict.fromkeys(pool.model for pool in self.pools))
        for model in models:
            members = [
                member
                for pool, facts in zip(self.pools, self.pool_facts(), strict=True)
                if pool.model == model
                for replica in pool.members
                for member in facts.targets(replica)
            ]
            targets = [target for target, _ in members]
            candidates = Candidates(
                len(targets),
                self.seed,
                [target.forward_ns for target in targets],
                [candidate for _, candidate in members],
            )
            is_apart = any(not target.decodes for target in targets)
            route = routes[model] = Route(
                self.policy,
                targets,
                candidates,
                routers=self.routers,
                prefill_policy=self.prefill_policy if is_apart else None,
            )
            if self.split:
                route.split = TrafficSplit(self.split, self.seed)
        if len(models) == 1:
            routes[""] = routes[models[0]]
        elif self.metadata.default_model:
            routes[""] = routes[self.metadata.default_model]
        return routes

    def _check_batches_fill(self) -> None:
        """Refuse batches that wait to be full where requests wait for earlier ones to end; raises InputError."""
        if not self.reacts or self.run_end < NEVER:
            return
        for index, pool in enumerate(self.pools):
            if pool.fills_batches:
                raise InputError(
                    f"fleet.pools.{index}.engine.batch_timeout_s: null waits for "
                    f"{counted(pool.limits.max_num_seqs, 'request')}, but this workload sends requests when earlier "
                    "ones have ended, so both could wait for ever; set batch_timeout_s, or run.end_s"
                )

    # --------------------------------------------------------------------------------------------------- the replicas

    def build_replica(
        self, index: int, observation: Observation, *, is_streamed: bool = False, pool: int | None = None
    ) -> Replica:
        """Build replica ``index`` for a hub that observes ``observation``; ``pool`` numbers the pool that it joins."""
        own = self.pool_of(index) if pool is None else self.pools[pool]
        kernel = self.kernel
        settings = ReplicaSettings(
            index=index,
            limits=replica_limits(own.limits),
            return_ns=own.delays.return_ns,
            series_interval_ns=self.series_interval_ns,
            late_cancellation_ns=sum(own.delays) if self.client_timeout_ns or observation.gates else None,
            stall_limit_ns=self.stall_limit_ns,
            run_end=self.run_end,
            reports_chunks=self.reports_chunks,
            jitters=kernel.of(self._jitters(index, own)),
            **reports(observation),
            timeline=NO_FAULTS if self.timeline_of is None else self.timeline_of(index, own.name, pool is not None),
            is_joining=pool is not None,
            pool=own.name,
        )
        new_log: type[ReplicaLog] = kernel.part("recording.replica_log", "ReplicaLog")
        log = new_log(
            self.series_interval_ns,
            own.predictor.stages,
            pending_limit(self.replicas),
            settings.limits.batches_in_flight,
            settings.return_ns,
        )
        ranks = settings.limits.data_parallel
        if ranks > 1:
            pending = pending_limit(self.replicas * (ranks + 1))
            parts = (1, pending, settings.limits.batches_in_flight, settings.return_ns)
            log.ranks = tuple(new_log(self.series_interval_ns, *parts) for _ in range(ranks))
        is_tracked = self.tracks_prefixes or observation.has_grid(PREFIXES)
        scheduler = kernel.of(own.scheduler)
        if is_tracked:
            scheduler = partial(kernel.part("serving.content_sampler", "reporting"), scheduler)
        predictor = kernel.of(own.predictor)
        build: type[Replica] = kernel.part("serving.replica", "Replica")
        return build(settings, scheduler(), predictor, log, is_streamed=is_streamed, new_scheduler=scheduler)

    def _jitters(self, index: int, pool: SimulatedPool) -> tuple[Jitter, ...]:
        """Return the noise of each stage of a replica, or nothing if its pool has none."""
        if not pool.jitter_ratio:
            return ()
        return tuple(Jitter(pool.jitter_ratio, self.seed, index, stage) for stage in range(pool.predictor.stages))

    def group(
        self,
        replicas: Sequence[Replica],
        observation: Observation,
        build: Callable[[int, int], Replica],
        delays: Mapping[int, LinkDelays] | None = None,
    ) -> Group:
        """Put replicas behind one mailbox; ``build`` makes those that join, by their indices and their pools'.

        ``delays`` gives the replicas' links by source where some of them have joined already.
        """
        is_restored = delays is not None
        if delays is None:
            delays = {replica.source: self.pool_of(replica.source - 1).delays for replica in replicas}
        inspect = methodcaller("validate") if self.is_paranoid else None
        join = partial(self._join, build)
        return Group(replicas, delays, observation, join, inspect, LiveRows().collect, is_restored=is_restored)

    def _join(self, build: Callable[[int, int], Replica], source: int, first: Join) -> tuple[Replica, LinkDelays]:
        """Build the replica that a first message makes join, and return its links, too."""
        return build(source - 1, first.pool), self.pools[first.pool].delays

    # ---------------------------------------------------------------------------------------------------------- both

    def process_links(self, groups: Sequence[Sequence[int]]) -> list[ProcessLink]:
        """Return the links of all replicas, which ``groups`` lists by their indices from 0.

        Raises InputError if the cycle router - replica - router has no delay: time could not advance.
        """
        floors = [pool.floors for pool in self.pools]
        for pool, floor in zip(self.pools, floors, strict=True):
            if sum(pool.delays) + floor.traversal_ns <= 0:
                raise InputError(
                    f"fleet.network: links of 0 ms and steps of pool {pool.name!r} without a least duration make a "
                    "cycle without delay; give a link a delay, or use a predictor whose steps take time"
                )
        group_of = {replica: group for group, members in enumerate(groups) for replica in members}
        return [
            ProcessLink(replica + 1, group_of[replica], pool.delays, floor)
            for pool, floor in zip(self.pools, floors, strict=True)
            for replica in pool.members
        ]

    def link_of_joining(self, groups: int) -> LinkOfJoining:
        """Return the rule for the links of replicas that join one of so many groups."""
        return partial(self._link_of, groups)

    def _link_of(self, groups: int, source: int, join: Join) -> ProcessLink:
        pool = self.pools[join.pool]
        return ProcessLink(source, (source - 1) % groups, pool.delays, pool.floors)

    def build_processes(self, log: RequestLog, groups: Sequence[Sequence[int]] | None = None) -> Processes:
        """Build every process; ``groups`` lists the replicas of each group, None puts all in one."""
        groups = [range(self.replicas)] if groups is None else groups
        hub = self.build_hub(log)
        replicas = [
            self.build_replica(index, hub.first_observation, is_streamed=self.keeps_streams)
            for index in range(self.replicas)
        ]
        build = ReplicaBuilder(self, hub.first_observation, replicas)
        built = {
            number: self.group([replicas[index] for index in members], hub.observation, build)
            for number, members in enumerate(groups)
        }
        coordinator = Coordinator(
            hub,
            self.process_links(groups),
            self.run_end,
            run_ahead_of(self.replicas),
            self.link_of_joining(len(groups)),
        )
        return Processes(hub, replicas, built, coordinator)
