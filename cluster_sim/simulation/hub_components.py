"""Components of the hub that a study asks for, in the order in which they are told of a request's end."""

from functools import partial

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.routing.component import HubComponent
from cluster_sim.routing.flow_control.admission_options import AdmissionOptions
from cluster_sim.routing.flow_control.gate import FlowControl
from cluster_sim.routing.policy_interface import ROUTING_POLICIES
from cluster_sim.simulation.shared_store import shared_store
from cluster_sim.simulation.simulation import ComponentFactory, Simulation
from cluster_sim.units import NS_PER_MS


def hub_components(study: Study) -> tuple[ComponentFactory, ...]:
    """Return what builds the components of a study; nothing for a plain one."""
    factories: list[ComponentFactory] = []
    if study.fleet.kv_store is not None:
        factories.append(partial(shared_store, study.fleet.kv_store))
    admission = _admission(study)
    if admission.is_active:
        _check_scrapes(study, admission)
        factories.append(partial(_flow_control, admission))
    return tuple(factories)


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
    if not (detector.telemetry and ROUTING_POLICIES.chosen_by(study.router).part.sampled_fields):
        return
    for name in ("period_ns", "latency_ns"):
        mine, theirs = getattr(detector, name) / NS_PER_MS, getattr(telemetry, name) / NS_PER_MS
        if mine != theirs:
            key = name.replace("_ns", "_ms")
            raise InputError(
                f"admission.detector.{key}: {mine:g} differs from router.telemetry.{key}: {theirs:g}, and the policy "
                f"{study.router.policy!r} reads the same samples; give both one value"
            )


def _flow_control(options: AdmissionOptions, simulation: Simulation) -> HubComponent:
    return FlowControl(options, simulation.seed)
