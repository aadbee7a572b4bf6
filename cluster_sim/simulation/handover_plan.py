"""Plan of the hand-overs of a study: which pools take part, by which connector, and whether their caches fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.hardware.interconnect.transfer_path import FleetLinks, Place
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.component import HubComponent
from cluster_sim.routing.faults.fault_plan import FaultPlan
from cluster_sim.routing.faults.kinds.link_degraded import LinkDegradedOptions
from cluster_sim.routing.handover.connector_interface import CONNECTORS, Connector, build_connector, default_handover
from cluster_sim.routing.handover.decider_interface import build_decider
from cluster_sim.routing.handover.degraded_links import DegradedLinks
from cluster_sim.routing.handover.kv_layout import KvLayout, kv_layout
from cluster_sim.routing.handover.moves import Moves
from cluster_sim.routing.handover.options import HandoverOptions
from cluster_sim.routing.handover.pairing import Pairing
from cluster_sim.routing.handover.prefill_decode import PrefillDecode
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy, build_policy
from cluster_sim.routing.roles import can_decode, can_prefill
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import ENGINES, EngineOptions
from cluster_sim.simulation.hub_components import fault_plan
from cluster_sim.simulation.simulation import Simulation

_WHOLE: Final = frozenset({"", "both", "prefill-decode", "encode-prefill-decode"})
"""Roles of pools that can do without others."""


@dataclass(frozen=True, slots=True)
class PoolOfPair:
    """What a hand-over must know of a pool."""

    index: int
    model: str
    role: str
    engine: EngineOptions
    hardware: ReplicaHardware
    limits: SchedulerLimits

    @property
    def key(self) -> str:
        """The pool's key in a study."""
        return f"fleet.pools.{self.index}"


@dataclass(frozen=True, slots=True)
class HandoverPlan:
    """The hand-overs of a study."""

    options: HandoverOptions
    connectors: Mapping[int, HandoverOptions]
    """By the number of the decode pool."""
    layouts: Mapping[int, KvLayout]
    """By the number of the pool."""
    faults: FaultPlan = field(default_factory=FaultPlan)

    def component(self, simulation: Simulation) -> HubComponent:
        """Build the component of the hub."""
        connectors: dict[int, Connector] = {pool: build_connector(options) for pool, options in self.connectors.items()}
        moves = Moves(simulation.links, self.layouts)
        pairing = Pairing(build_decider(self.options.decider))
        return PrefillDecode(connectors, pairing, moves, DegradedLinks(self.faults, moves))

    @property
    def reports_chunks(self) -> bool:
        """Whether a connector sends a prompt's chunks as they end."""
        return any(CONNECTORS.chosen_by(options).part.reports_chunks for options in self.connectors.values())


def plan_handover(study: Study, pools: Sequence[PoolOfPair], links: FleetLinks) -> HandoverPlan | None:
    """Return the hand-overs of a study, None if every pool serves whole requests.

    Raises InputError, which begins with the key, for pools that lack their counterpart or cannot be paired, and for
    faults of links that nothing passes.
    """
    if all(pool.role in _WHOLE for pool in pools):
        _check_no_link_faults(study)
        return None
    chosen: dict[int, HandoverOptions] = {}
    layouts: dict[int, KvLayout] = {}
    for model in dict.fromkeys(pool.model for pool in pools):
        mine = [pool for pool in pools if pool.model == model]
        if all(pool.role in _WHOLE for pool in mine):
            continue
        _check_roles(mine)
        prefilling = [pool for pool in mine if pool.role and can_prefill(pool.role)]
        decoding = [pool for pool in mine if can_decode(pool.role)]
        options = _connector_of(study, mine)
        connector = CONNECTORS.chosen_by(options).part
        for pool in mine:
            _check_engine(pool, connector, options)
            layouts[pool.index] = kv_layout(pool.hardware)
        for decode in decoding:
            chosen[decode.index] = options
            for prefill in prefilling:
                if prefill is not decode:
                    _check_pair(connector, layouts, prefill, decode, links)
    return HandoverPlan(next(iter(chosen.values())), chosen, layouts, fault_plan(study))


def _check_no_link_faults(study: Study) -> None:
    """Refuse degraded links in a study without hand-overs."""
    for number, fault in enumerate(study.faults):
        if isinstance(fault, LinkDegradedOptions):
            raise InputError(
                f"faults.{number}.kind: no cache is handed over between replicas here, so link_degraded would change "
                "nothing; leave it out, or give pools the roles prefill and decode"
            )


def _check_roles(pools: Sequence[PoolOfPair]) -> None:
    """Refuse pools of one model without their counterpart, and the stage for images."""
    for pool in pools:
        if pool.role == "encode":
            raise InputError(f"{pool.key}.role: encode in replicas of its own is not modelled; choose another role")
        if not can_decode(pool.role) and not any(can_decode(other.role) for other in pools):
            raise InputError(
                f"{pool.key}.role: {pool.role}, but no pool decodes for {pool.model}; add a pool with role: decode"
            )
        if pool.role == "decode" and not any(can_prefill(other.role) for other in pools):
            raise InputError(
                f"{pool.key}.role: {pool.role}, but no pool computes prompts for {pool.model}; add a pool with role: "
                "prefill"
            )


def _connector_of(study: Study, pools: Sequence[PoolOfPair]) -> HandoverOptions:
    """Return the options of the connector of some pools of one model."""
    if study.fleet.handover is not None:
        return study.fleet.handover
    first = next(pool for pool in pools if pool.role not in _WHOLE)
    options = default_handover(first.engine.kind)
    if options is None:
        raise InputError(f"{first.key}.role: {first.role}: {_no_handover(first.engine.kind)}")
    return options


def _no_handover(kind: str) -> str:
    able = [entry.name for entry in ENGINES.entries() if entry.part.hands_over]
    return f"the engine {kind} hands no requests over; those that do: {', '.join(able)}"


def _check_engine(pool: PoolOfPair, connector: type[Connector], options: HandoverOptions) -> None:
    """Refuse another engine than the connector's, and caches that it cannot move."""
    kind = pool.engine.kind
    if not ENGINES.get(kind).part.hands_over:
        raise InputError(f"{pool.key}.role: {pool.role or 'both'}: {_no_handover(kind)}")
    if kind != connector.engine:
        raise InputError(
            f"{pool.key}.engine.kind: {kind}, but the connector {options.connector} joins pools of {connector.engine}; "
            f"choose another connector in fleet.handover, or another engine"
        )
    if pool.limits.kv_groups is not None:
        states = bool(pool.limits.kv_groups.sequence_blocks)
        advice = "" if states else "; set disable_hybrid_kv_cache_manager: true, as the engine does with a connector"
        raise InputError(
            f"{pool.key}.engine: {pool.model} keeps {'states' if states else 'attention windows'} in its cache, which "
            f"no connector moves{advice}"
        )


def _check_pair(
    connector: type[Connector],
    layouts: Mapping[int, KvLayout],
    prefill: PoolOfPair,
    decode: PoolOfPair,
    links: FleetLinks,
) -> None:
    """Refuse caches that the connector cannot convert, and pools without a way between them."""
    refusal = connector.refusal(layouts[prefill.index], layouts[decode.index])
    if refusal:
        raise InputError(f"{decode.key}.{refusal}")
    if links.path(Place(0, prefill.index, 0), Place(0, decode.index, 0)) is None:
        raise InputError(
            f"{decode.key}.site: no route leads here from the prefill pool {links.pools[prefill.index].name!r}; give "
            "one in fleet.sites.routes"
        )


def prefill_policy(router: RouterOptions) -> Callable[[Candidates], RoutingPolicy] | None:
    """Return what builds the policy that chooses prefill replicas: the study's, or another of that which chooses the
    decode replicas; None if that chooses both.
    """
    if ROUTING_POLICIES.chosen_by(router).part.chooses_pairs:
        return None
    options = router.prefill or router
    assert isinstance(options, RouterOptions)
    return partial(build_policy, options.model_copy(update={"telemetry": router.telemetry}))
