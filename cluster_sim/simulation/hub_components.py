"""Components of the hub that a study asks for, in the order in which they are told of a request's end."""

from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.simulation import ComponentFactory


def hub_components(study: Study) -> tuple[ComponentFactory, ...]:
    """Return what builds the components of a study; nothing for a plain one."""
    del study
    factories: list[ComponentFactory] = []
    return tuple(factories)
