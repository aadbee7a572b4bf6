"""Components of the hub that a study asks for, in the order in which they are told of a request's end."""

from functools import partial

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.routing.component import HubComponent
from cluster_sim.routing.encoding.encode_stage import EncodeStage
from cluster_sim.routing.encoding.options import EncoderOptions
from cluster_sim.routing.faults.fault_component import FaultInjection
from cluster_sim.routing.faults.fault_effects import FleetView, PoolView
from cluster_sim.routing.faults.fault_plan import FaultPlan, plan_faults
from cluster_sim.routing.flow_control.admission_options import AdmissionOptions
from cluster_sim.routing.flow_control.gate import FlowControl
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES
from cluster_sim.routing.recovery.health_checks import HealthOptions
from cluster_sim.routing.recovery.health_component import HealthChecks
from cluster_sim.routing.recovery.live_migration import LiveMigration
from cluster_sim.routing.recovery.migration_options import MigrationOptions
from cluster_sim.routing.recovery.recovery_component import RequestRecovery
from cluster_sim.simulation.fleet_changes import changed_routers
from cluster_sim.simulation.shared_store import shared_store
from cluster_sim.simulation.simulation import ComponentFactory, Simulation
from cluster_sim.units import NS_PER_MS


def hub_components(study: Study, *, can_branch: bool = False) -> tuple[ComponentFactory, ...]:
    """Return what builds the components of a study; nothing for a plain one, unless it ``can_branch``: then there is
    what makes faults.
    """
    factories: list[ComponentFactory] = []
    if study.fleet.kv_store is not None:
        factories.append(partial(shared_store, study.fleet.kv_store))
    if study.fleet.encoders is not None:
        factories.append(partial(_encoders, study.fleet.encoders))
    router, faults = study.router, fault_plan(study)
    if router.retries or router.migration or router.circuit_breaker:
        factories.append(partial(_recovery, router))
    if router.migration and router.migration.is_live:
        factories.append(partial(_live_migration, router.migration))
    if faults or can_branch:
        factories.append(partial(_faults, faults))
        if router.health:
            factories.append(partial(_health, router.health, faults))
    admission = _admission(study)
    if admission.is_active:
        _check_scrapes(study, admission)
        factories.append(partial(_flow_control, admission))
    return tuple(factories)


def fault_plan(study: Study) -> FaultPlan:
    """Resolve the faults of a study; raise InputError, which begins with the key, for targets that do not exist."""
    return plan_faults(study.faults, fleet_view(study))


def fleet_view(study: Study) -> FleetView:
    """Return what faults must know of a study's fleet."""
    pools, first = [], 0
    for pool in study.fleet.pools:
        pools.append(PoolView(pool.name, range(first, first + pool.replicas), pool.role or ""))
        first += pool.replicas
    return FleetView(tuple(pools))


def _encoders(options: EncoderOptions, simulation: Simulation) -> HubComponent:
    del simulation
    return EncodeStage(options)


def _recovery(router: RouterOptions, simulation: Simulation) -> HubComponent:
    return RequestRecovery(router.retries, router.migration, router.circuit_breaker, simulation.seed)


def _live_migration(options: MigrationOptions, simulation: Simulation) -> HubComponent:
    del simulation
    return LiveMigration(options)


def _faults(plan: FaultPlan, simulation: Simulation) -> HubComponent:
    del simulation
    return FaultInjection(plan)


def _health(options: HealthOptions, plan: FaultPlan, simulation: Simulation) -> HubComponent:
    del simulation
    return HealthChecks(options, plan)


def _admission(study: Study) -> AdmissionOptions:
    """Return the study's admission, or where that limits nothing the one that the router's own configuration means."""
    own = None if study.admission.is_active else study.router.own_admission
    if own is None:
        return study.admission
    assert isinstance(own, AdmissionOptions)
    return own


def _check_scrapes(study: Study, admission: AdmissionOptions) -> None:
    """Raise InputError if detector and routing policy read samples of different ages: replicas give one kind."""
    detector = FlowControl(admission, study.seed).observation
    telemetry = study.router.telemetry
    readers = [
        router.policy
        for router in (study.router, *changed_routers(study))
        if ROUTING_POLICIES.chosen_by(router).part.sampled_fields
    ]
    if not (detector.telemetry and readers):
        return
    for name in ("period_ns", "latency_ns"):
        mine, theirs = getattr(detector, name) / NS_PER_MS, getattr(telemetry, name) / NS_PER_MS
        if mine != theirs:
            key = name.replace("_ns", "_ms")
            raise InputError(
                f"admission.detector.{key}: {mine:g} differs from router.telemetry.{key}: {theirs:g}, and the policy "
                f"{readers[0]!r} reads the same samples; give both one value"
            )


def _flow_control(options: AdmissionOptions, simulation: Simulation) -> HubComponent:
    return FlowControl(options, simulation.seed)
