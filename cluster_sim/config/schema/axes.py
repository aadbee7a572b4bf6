"""Axes of extension: the registries whose parts a study chooses from."""

from typing import Any, Final

from cluster_sim.hardware.predictors.predictor_interface import PREDICTORS
from cluster_sim.registry import Registry
from cluster_sim.routing.endpoint_picker.parts import ENDPOINT_DECIDERS, FILTERS, PICKERS, PROFILE_HANDLERS, SCORERS
from cluster_sim.routing.faults.fault_interface import FAULT_KINDS
from cluster_sim.routing.flow_control.detector_interface import DETECTORS
from cluster_sim.routing.flow_control.fairness_interface import FAIRNESS
from cluster_sim.routing.flow_control.ordering_interface import ORDERINGS
from cluster_sim.routing.flow_control.shedder_interface import SHEDDERS
from cluster_sim.routing.handover.connector_interface import CONNECTORS
from cluster_sim.routing.handover.decider_interface import DECIDERS
from cluster_sim.routing.policy_interface import ROUTING_POLICIES
from cluster_sim.routing.scaling.scaler_interface import SCALERS
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS
from cluster_sim.serving.schedulers.engine_options import ENGINES
from cluster_sim.workload.arrivals.arrival_process import ARRIVALS
from cluster_sim.workload.kind_interface import WORKLOAD_KINDS
from cluster_sim.workload.lengths.length_sampler import LENGTHS
from cluster_sim.workload.readers.trace_format import TRACE_READERS
from cluster_sim.workload.sampling.distribution import DISTRIBUTIONS

AXES: Final[tuple[Registry[Any], ...]] = (
    WORKLOAD_KINDS,
    ARRIVALS,
    LENGTHS,
    DISTRIBUTIONS,
    TRACE_READERS,
    PREDICTORS,
    ROUTING_POLICIES,
    FAULT_KINDS,
    DETECTORS,
    ORDERINGS,
    FAIRNESS,
    SHEDDERS,
    CONNECTORS,
    DECIDERS,
    FILTERS,
    SCORERS,
    PICKERS,
    PROFILE_HANDLERS,
    ENDPOINT_DECIDERS,
    SCALERS,
    ENGINES,
    QUEUE_ORDERS,
)
